/* What the filters of POE and IO::Buffered were seen to do with an input, and what ours do: a table. */
#include "test_filter.h"

struct piece {
	const char *bytes;
	size_t len;
};
#define P(text) { text, sizeof(text) - 1 }

struct vector {
	const char *name;
	struct sconce_filter *(*make)(void);
	struct piece pieces[6];
	bool end;			/* the input ends behind them */
	const char *read;		/* what comes; see test_filter.h */
	const char *written;		/* what is written when each record is put again; NULL: not asked */
};

/* ---- the filters ---- */

static struct sconce_filter *
line_compat(void)
{
	return line_mode(false, true);
}

static struct sconce_filter *
line_detect(void)
{
	return line_mode(true, false);
}

static struct sconce_filter *
line_x(void)
{
	return line_to("x", NULL);
}

static struct sconce_filter *
line_x_y(void)
{
	return line_to("x", "y");
}

static struct sconce_filter *
line_10(void)
{
	return limited(line_any(), 10);
}

static struct sconce_filter *
regex_xy(void)
{
	return MADE(regex, "[xy]", 0);
}

static struct sconce_filter *
fixed_4(void)
{
	return MADE(fixed, 4);
}

static struct sconce_filter *
fixed_6(void)
{
	return MADE(fixed, 6);
}

static struct sconce_filter *
block(void)
{
	return MADE(block, NULL);
}

static struct sconce_filter *
block_10(void)
{
	return limited(block(), 10);
}

static ssize_t
decode_32(const void *data, size_t len, uint64_t *size_out)
{
	const unsigned char *p = data;

	if (len < 4)
		return 0;
	*size_out = (uint64_t)p[0] << 24 | (uint64_t)p[1] << 16 | (uint64_t)p[2] << 8 | p[3];
	return 4;
}

static ssize_t
encode_32(uint64_t size, void *buf)
{
	unsigned char *p = buf;

	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(size >> (24 - 8 * i));
	return 4;
}

static struct sconce_filter *
block_32(void)
{
	struct sconce_block_options o = { .decode = decode_32, .encode = encode_32 };

	return MADE(block, &o);
}

static struct sconce_filter *
numbers_in_fours(void)
{
	return STACK(line_to(" ", NULL), MADE(group, 4, false));
}

static int
wrap(const struct sconce_record *rec, struct sconce_sink *to, void *arg)
{
	struct iovec iov[3] = { { "{", 1 }, { (void *)(uintptr_t)rec->data, rec->len }, { "}", 1 } };

	(void)arg;
	return sconce_sink_pieces(to, iov, 3);
}

static bool
has_a_one(const struct sconce_record *rec, void *arg)
{
	(void)arg;
	return memchr(rec->data, '1', rec->len) != NULL;
}

static struct sconce_filter *
four_stages(void)
{
	return STACK(line_to("!", NULL), MADE(map, wrap, NULL, NULL), MADE(grep, has_a_one, NULL, NULL),
		MADE(group, 2, false));
}

static struct sconce_filter *
split_lf(void)
{
	return MADE(split, "\n", 1);
}

static struct sconce_filter *
size_n(void)
{
	return MADE(size, "n", 0);
}

static struct sconce_filter *
http_whole(void)
{
	return http((struct sconce_http_options){ .mode = SCONCE_HTTP_WHOLE });
}

/* As the server of POE: errors are records, a megabyte of content, HTTP/0.9, folded lines. */
static struct sconce_filter *
httpd(void)
{
	return http((struct sconce_http_options){
		.max_body = 1 << 20, .http09 = true, .unfold = true, .error_records = true });
}

/* ---- the table ---- */

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define SHOWN_GET "<GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n>^."
#define LONG_LINE "This line is far longer than it may be, really."

static const struct vector vectors[] = {
	/* G.4: Line default | [a CR] [b LF] [c CR LF] [d LF CR] */
	{ "line, as POE's", line_compat, { P("a\r"), P("b\n"), P("c\r\n"), P("d\n\r") }, true, "<a>|<b>|<c>|<d>|",
		"a\\r\\nb\\r\\nc\\r\\nd\\r\\n" },
	/* Ours: a CR waits for what comes next, and LF CR is two ends. */
	{ "line", line_any, { P("a\r"), P("b\n"), P("c\r\n"), P("d\n\r") }, false, "|<a><b>|<c>|<d>|",
		"a\\r\\nb\\r\\nc\\r\\nd\\r\\n" },
	/* G.4: Line default | [a CR] [LF b CR LF] */
	{ "a cut pair, as POE's", line_compat, { P("a\r"), P("\nb\r\n") }, true, "<a>|<><b>|", NULL },
	{ "a cut pair", line_any, { P("a\r"), P("\nb\r\n") }, true, "|<a><b>|", NULL },
	/* G.4: Line default | [LF LF x LF LF] */
	{ "empty lines, as POE's", line_compat, { P("\n\nx\n\n") }, true, "<><><x><>|", NULL },
	{ "empty lines", line_any, { P("\n\nx\n\n") }, true, "<><><x><>|", NULL },
	/* G.4: Line literal "x" */
	{ "a literal", line_x, { P("axa"), P("bxb"), P("cxc"), P("dxd") }, false, "<a>|<ab>|<bc>|<cd>|", NULL },
	{ "what is pending", line_x, { P("axa"), P("bxb"), P("cxc"), P("dxd") }, true, "<a>|<ab>|<bc>|<cd>|<d>~", NULL },
	/* G.4: Line in "x" out "y" */
	{ "two literals", line_x_y, { P("axa"), P("bxb"), P("cxc"), P("dxd") }, false, "<a>|<ab>|<bc>|<cd>|", "ayabybcycdy" },
	/* G.4: Line regexp [xy] (out "!" is another filter's: test_put_another_filter_writes_its_ends) */
	{ "a pattern", regex_xy, { P("axa"), P("byb"), P("cxc"), P("dyd") }, false, "<a>|<ab>|<bc>|<cd>|", NULL },
	/* G.4: Line autodetect | [a CR] [LF b CR LF] [c LF CR] [LF] */
	{ "CR LF is detected", line_detect, { P("a\r"), P("\nb\r\n"), P("c\n\r"), P("\n") }, false, "|<a><b>||<c\\n>|", NULL },
	/* G.4: Line autodetect | [a LF CR] [CR b LF CR] [c CR] [LF CR] */
	{ "LF CR is detected", line_detect, { P("a\n\r"), P("\rb\n\r"), P("c\r"), P("\n\r") }, false, "<a>|<\\rb>||<c\\r>|", NULL },
	/* G.4: Line autodetect | [a LF] [b CR LF] [c CR] [LF] */
	{ "LF is detected", line_detect, { P("a\n"), P("b\r\n"), P("c\r"), P("\n") }, false, "<a>|<b\\r>||<c\\r>|", NULL },
	/* G.4: Line MaxLength 10 */
	{ "a long line", line_10, { P(LONG_LINE "\r\n") }, false, "!line too long|", NULL },
	/* G.4: Block 4 */
	{ "fixed blocks", fixed_4, { P("12345678") }, true, "<1234><5678>|", "12345678" },
	/* G.4: Block variable | a bc def ghij */
	{ "blocks", block, { P("1\0a2\0bc3\0def4\0ghij") }, true, "<a><bc><def><ghij>|", "1\\0a2\\0bc3\\0def4\\0ghij" },
	/* G.4: Block variable | [1] [0] [NUL] [klmno] [pqrst] */
	{ "a block in pieces", block, { P("1"), P("0"), P("\0"), P("klmno"), P("pqrst") }, true, "||||<klmnopqrst>|", NULL },
	/* G.4: Block variable | [zz3 NUL abc] [2 NUL de] */
	{ "stray bytes", block, { P("zz3\0abc"), P("2\0de") }, true, "<abc>|<de>|", NULL },
	/* G.4: Block variable | [0 NUL 1 NUL a] */
	{ "an empty block", block, { P("0\0" "1\0a") }, true, "<><a>|", NULL },
	/* G.4: Block codec big-endian 32 */
	{ "a codec", block_32, { P("\0"), P("\0"), P("\0"), P("\n"), P("klmno"), P("pqrst") }, true, "|||||<klmnopqrst>|",
		"\\0\\0\\0\\nklmnopqrst" },
	/* G.4: Block MaxLength 10 */
	{ "a big block", block_10, { P("134\0abc") }, false, "!block too big|", NULL },
	/* G.4: RecordBlock 4 | 1..10 (the rest, held back, is a smaller group at the end) */
	{ "groups", numbers_in_fours, { P("1 2 3 4 5 6 7 8 9 10 ") }, false, "(<1><2><3><4>)(<5><6><7><8>)|", "1 2 3 4 5 6 7 8 " },
	{ "the rest of a group", numbers_in_fours, { P("1 2 3 4 5 6 7 8 9 10 ") }, true,
		"(<1><2><3><4>)(<5><6><7><8>)|(<9><10>)~", "1 2 3 4 5 6 7 8 9 10 " },
	/* G.4: Stack Line "!" -> Map -> Grep /1/ -> RecordBlock 2 */
	{ "four stages", four_stages, { P("test one (1)!test two (2)!"), P("test three (3)!test four (100)!") }, true,
		"|(<{test one (1)}><{test four (100)}>)|", NULL },
	/* G.4: Split LF | [Data1 LF Data2] [LF Data3 LF Data4] + last */
	{ "split", split_lf, { P("Data1\nData2"), P("\nData3\nData4") }, true, "<Data1>|<Data2><Data3>|<Data4>", NULL },
	/* G.4: Split LF | [a LF LF b LF] (AC-6: the original stalls behind an empty record) */
	{ "split, an empty one", split_lf, { P("a\n\nb\n") }, true, "<a><><b>|", "a\\n\\nb\\n" },
	/* G.4: FixedSize 6 | [Data10Data1] [1Data12Data1] + last */
	{ "fixed size", fixed_6, { P("Data10Data1"), P("1Data12Data1") }, true, "<Data10>|<Data11><Data12>|<Data1>~", NULL },
	/* G.4: Size n,0 | [0006 Data10 0006 Data1] [1 0006 Data12 0006 Data1] + last */
	{ "size", size_n, { P("\0\6Data10\0\6Data1"), P("1\0\6Data12\0\6Data1") }, true, "<Data10>|<Data11><Data12>|<Data1>~", NULL },
	/* G.4: Size n,0 | [0000 0001 A] */
	{ "size, an empty one", size_n, { P("\0\0\0\1A") }, true, "<><A>|", "\\0\\0\\0\\x01A" },
	/* An empty one that comes last is not withheld either. */
	{ "size, an empty one last", size_n, { P("\0\1A\0\0") }, false, "<A><>|", NULL },
	/* G.4: Last | [x] [y] + last */
	{ "last", last, { P("x"), P("y") }, true, "||<xy>", NULL },
	/* G.4: HTTP | GET, 2 header lines, no body */
	{ "a request without a body", http_whole, { P(GET) }, true, SHOWN_GET "|", NULL },
	/* G.4: HTTP | POST length 5 with "ab", then "cde" + GET */
	{ "a body in two pieces", http_whole, { P("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nab"), P("cde" GET) }, true,
		"|<POST / HTTP/1.0\\r\\nContent-Length: 5\\r\\n\\r\\nabcde>^." SHOWN_GET "|", NULL },
	/* G.4: HTTPD | "GET /" + blank line */
	{ "HTTP/0.9", httpd, { P("GET /\r\n\r\n") }, true, "<GET /\\r\\n>^.|", NULL },
};

/* Each row of the table reads, and writes, as it says. */
START_TEST(test_get_vector_gives_its_records)
{
	const struct vector *v = &vectors[_i];
	struct paper paper = paper_new();
	struct text written = { NULL, 0, 0 };
	struct reader r;

	reader_open(&r, v->make());
	r.paper = &paper;
	for (int i = 0; i < 6 && v->pieces[i].bytes != NULL; i++)
		reader_feed(&r, v->pieces[i].bytes, v->pieces[i].len);
	if (v->end)
		reader_end(&r);
	ck_assert_msg(strcmp(r.text, v->read) == 0, "%s: read %s, not %s", v->name, r.text, v->read);
	text_add_visible(&written, paper.wire.bytes, paper.wire.len);
	text_add(&written, "", 0);
	if (v->written != NULL)
		ck_assert_msg(strcmp(written.bytes, v->written) == 0, "%s: wrote %s", v->name, written.bytes);
	reader_close(&r);
	free(paper.wire.bytes);
	free(written.bytes);
}
END_TEST

/* ---- rows that are no list of records ---- */

/* What is written may have other ends than what is read: two filters, as a stream has them. */
/* G.4: Line regexp [xy] out "!".  RW-2 */
START_TEST(test_put_another_filter_writes_its_ends)
{
	struct sconce_filter *out = line_to(NULL, "!");
	struct paper paper = paper_new();
	struct sconce_framer writer;
	struct sconce_record rec;
	struct reader r;

	ck_assert_int_eq(sconce_framer_init(&writer, out), 0);
	sconce_filter_unref(out);
	reader_open(&r, regex_xy());
	ck_assert_int_eq(sconce_framer_feed(&r.framer, "axabybcxcdyd", 12), 0);
	while (sconce_framer_next(&r.framer, &rec) == 1)
		ck_assert_int_eq(sconce_framer_put(&writer, &rec, &paper.sink), 1);
	ck_assert_str_eq(paper.wire.bytes, "a!ab!bc!cd!");
	free(paper.wire.bytes);
	sconce_framer_fini(&writer);
	reader_close(&r);
}
END_TEST

/* The limit on what may wait is asked before anything is parsed, and none of a piece that breaks it is kept. */
/* G.4: Line MaxBuffer 10, MaxLength 5 */
START_TEST(test_feed_over_max_buffer_is_refused)
{
	struct reader r;

	reader_open(&r, limited(line_any(), 5));
	r.framer.max_buffer = 10;
	ck_assert_int_eq(sconce_framer_feed(&r.framer, LONG_LINE, sizeof(LONG_LINE) - 1), -ENOBUFS);
	ck_assert_uint_eq(r.framer.in.len, 0);
	reader_feed(&r, "short\r\n", 7);
	ck_assert_str_eq(r.text, "<short>|");
	reader_close(&r);
}
END_TEST

static struct sconce_filter *
regex_lf(void)
{
	return MADE(regex, "\n", 0);
}

/* 50 bytes and 50 fit into 100, and 101 do not, whatever the filter. */
/* G.4: MaxSize 100, all types */
START_TEST(test_feed_max_buffer_holds_for_every_filter)
{
	struct sconce_filter *(*const all[])(void) = { split_lf, regex_lf, size_n, fixed_6, last, http_whole };
	char bytes[101];
	struct reader r;

	memset(bytes, 'x', sizeof(bytes));
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		reader_open(&r, all[i]());
		r.framer.max_buffer = 100;
		ck_assert_int_eq(sconce_framer_feed(&r.framer, bytes, 50), 0);
		ck_assert_int_eq(sconce_framer_feed(&r.framer, bytes, 50), 0);
		ck_assert_uint_eq(r.framer.in.len, 100);
		reader_close(&r);
		reader_open(&r, all[i]());
		r.framer.max_buffer = 100;
		ck_assert_int_eq(sconce_framer_feed(&r.framer, bytes, 101), -ENOBUFS);
		reader_close(&r);
	}
}
END_TEST

/* A group that is not whole is held back, and counted, when that was asked for. */
/* G.4: RecordBlock 3 CheckPut | put (1 2)(3 A) */
START_TEST(test_put_check_put_holds_back_the_rest)
{
	struct sconce_record one[2] = { sconce_record_of("1", 1), sconce_record_of("2", 1) };
	struct sconce_record two[2] = { sconce_record_of("3", 1), sconce_record_of("A", 1) };
	struct sconce_record first = { .count = 2, .items = one }, second = { .count = 2, .items = two };
	struct paper paper = paper_new();
	struct reader r;

	reader_open(&r, STACK(line_to(" ", NULL), MADE(group, 3, true)));
	ck_assert_int_ge(sconce_framer_put(&r.framer, &first, &paper.sink), 0);
	ck_assert_str_eq(paper.wire.bytes, "");
	ck_assert_uint_eq(sconce_framer_held(&r.framer), 2);
	ck_assert_int_ge(sconce_framer_put(&r.framer, &second, &paper.sink), 0);
	ck_assert_str_eq(paper.wire.bytes, "1 2 3 ");
	ck_assert_uint_eq(sconce_framer_held(&r.framer), 1);
	free(paper.wire.bytes);
	reader_close(&r);
}
END_TEST

/* "POST ... Content-Length: 264", and 264 bytes. */
static struct text
two_posts(size_t *one_out)
{
	struct text t = { NULL, 0, 0 };
	char body[264];

	memset(body, 'b', sizeof(body));
	for (int i = 0; i < 2; i++) {
		text_add(&t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 264\r\n\r\n", 49);
		text_add(&t, body, sizeof(body));
		*one_out = t.len / (size_t)(i + 1);
	}
	return t;
}

/* Two requests one behind the other are two records, each a head and its body. */
/* G.4: HTTP | two POSTs with length 264 back to back */
START_TEST(test_get_http_two_posts_give_two_records)
{
	struct sconce_record rec;
	size_t one;
	struct text wire = two_posts(&one);
	struct reader r;

	reader_open(&r, http_whole());
	ck_assert_int_eq(sconce_framer_feed(&r.framer, wire.bytes, wire.len), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
		ck_assert_uint_eq(rec.len, one);
		ck_assert_mem_eq(rec.data, wire.bytes, one);
	}
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 0);
	free(wire.bytes);
	reader_close(&r);
}
END_TEST

/* Heads alone: behind one the parser waits until its body is asked for, then goes on with the next head. */
/* G.4: HTTP header-only | same; then want(264); then want(264).  IB-9, EM-49 */
START_TEST(test_get_http_head_only_waits_for_want)
{
	struct sconce_record rec;
	size_t one;
	struct text wire = two_posts(&one);
	struct reader r;

	reader_open(&r, http((struct sconce_http_options){ .mode = SCONCE_HTTP_HEAD_ONLY }));
	ck_assert_int_eq(sconce_framer_feed(&r.framer, wire.bytes, wire.len), 0);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
		ck_assert_uint_eq(rec.flags, SCONCE_RECORD_HEAD);
		ck_assert_uint_eq(rec.len, 49);
		ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 0);
		ck_assert_int_eq(sconce_framer_want(&r.framer, 264), 0);
		ck_assert_int_eq(sconce_framer_want(&r.framer, 264), -EBUSY);
		ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
		ck_assert_uint_eq(rec.flags, SCONCE_RECORD_BODY | SCONCE_RECORD_END);
		ck_assert_uint_eq(rec.len, 264);
	}
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 0);
	ck_assert_uint_eq(r.framer.in.len, 0);
	free(wire.bytes);
	reader_close(&r);
}
END_TEST

static const struct refusal {
	const char *request;
	int status;
} refusals[] = {
	/* G.4: HTTPD | "BAD" + blank line */
	{ "BAD\r\n\r\n", 400 },
	/* G.4: HTTPD | Content-Length: abc / 2000000 (limit 1 MiB) / Content-Encoding without length in 1.1 */
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n", 413 },
	{ "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\n\r\n", 411 },
};

/* A request that cannot be served is a record that holds the answer, and the input ends with it. */
START_TEST(test_get_http_refused_request_gives_its_answer)
{
	const struct refusal *v = &refusals[_i];
	const struct sconce_http_record *detail;
	struct sconce_record rec;
	char start[32];
	struct reader r;

	reader_open(&r, httpd());
	ck_assert_int_eq(sconce_framer_feed(&r.framer, v->request, strlen(v->request)), 0);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
	ck_assert_uint_eq(rec.flags, SCONCE_RECORD_ERROR);
	detail = rec.detail;
	ck_assert_int_eq(detail->status, v->status);
	snprintf(start, sizeof(start), "HTTP/1.1 %d ", v->status);
	ck_assert_mem_eq(rec.data, start, strlen(start));
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), v->status == 413 ? -EMSGSIZE : -EBADMSG);
	reader_close(&r);
}
END_TEST

/* A folded field is joined by a space. */
/* G.4: HTTPD | header "X: a", folded line " b" */
START_TEST(test_get_http_folded_field_is_joined)
{
	static const char text[] = "GET / HTTP/1.1\r\nX: a\r\n b\r\nHost: h\r\n\r\n";
	const struct sconce_http_record *detail;
	struct sconce_record rec;
	struct sconce_http_slice value;
	struct reader r;

	reader_open(&r, httpd());
	ck_assert_int_eq(sconce_framer_feed(&r.framer, text, sizeof(text) - 1), 0);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
	detail = rec.detail;
	ck_assert_ptr_nonnull(detail);
	value = detail->head->fields[sconce_http_find(detail->head, rec.data, "x", 0)].value;
	ck_assert_uint_eq(value.length, 3);
	ck_assert_mem_eq(sconce_http_at(rec.data, value), "a b", 3);
	reader_close(&r);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("filter vectors");
	TCase *c;

	c = t_case(s, "table");
	tcase_add_loop_test(c, test_get_vector_gives_its_records, 0, sizeof(vectors) / sizeof(vectors[0]));

	c = t_case(s, "others");
	tcase_add_test(c, test_put_another_filter_writes_its_ends);
	tcase_add_test(c, test_feed_over_max_buffer_is_refused);
	tcase_add_test(c, test_feed_max_buffer_holds_for_every_filter);
	tcase_add_test(c, test_put_check_put_holds_back_the_rest);
	tcase_add_test(c, test_get_http_two_posts_give_two_records);
	tcase_add_test(c, test_get_http_head_only_waits_for_want);
	tcase_add_loop_test(c, test_get_http_refused_request_gives_its_answer, 0, sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(c, test_get_http_folded_field_is_joined);
	return s;
}
