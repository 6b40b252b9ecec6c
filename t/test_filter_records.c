/* Filters that work on records: group, map, grep, stack, frozen. */
#include "test_filter.h"

static struct sconce_filter *none;		/* what a constructor that fails leaves alone */

/* ---- groups ---- */

static struct sconce_filter *
words_in(size_t size)
{
	return STACK(line_to(" ", NULL), MADE(group, size, false));
}

/* A group holds its records, and their bytes one behind the other; the rest at the end is a smaller one. */
/* PF-8 */
START_TEST(test_group_holds_items_and_their_bytes)
{
	struct sconce_record rec;
	struct reader r;

	reader_open(&r, words_in(3));
	ck_assert_int_eq(sconce_framer_feed(&r.framer, "one two  four ", 14), 0);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
	ck_assert_uint_eq(rec.count, 3);
	ck_assert_uint_eq(rec.len, 6);
	ck_assert_mem_eq(rec.data, "onetwo", 6);
	ck_assert_uint_eq(rec.items[2].len, 0);
	reader_all(&r);
	reader_end(&r);
	ck_assert_str_eq(r.text, "(<four>)~");
	reader_close(&r);
	READS(words_in(1), "a b ", "(<a>)(<b>)");
	READS(words_in(3), "a b c", "(<a><b><c>~)");
}
END_TEST

/* Groups of groups; alone, what has arrived is a record. */
/* PF-8 */
START_TEST(test_group_nests_and_stands_alone)
{
	struct reader r;

	READS(STACK(words_in(2), MADE(group, 2, false)), "a b c d e f ", "((<a><b>)(<c><d>))((<e><f>))~");
	reader_open(&r, MADE(group, 2, false));
	reader_feed(&r, "ab", 2);
	reader_feed(&r, "c", 1);
	reader_feed(&r, "d", 1);
	reader_end(&r);
	ck_assert_str_eq(r.text, "|(<ab><c>)||(<d>)~");
	reader_close(&r);
}
END_TEST

/* A group's bytes have a limit, and no records make none. */
START_TEST(test_group_limit_and_refusals)
{
	READS(STACK(line_to(" ", NULL), limited(MADE(group, 3, false), 4)), "ab cd e fg hi j ", "!group too long");
	READS(STACK(line_to(" ", NULL), limited(MADE(group, 2, false), 4)), "ab cd e fgh ", "(<ab><cd>)(<e><fgh>)");
	ck_assert_int_eq(sconce_filter_group(0, true, &none), -EINVAL);
	ck_assert_ptr_null(none);
}
END_TEST

/* Writing takes a group apart, however deep; what is held back goes when it makes a group, also if the writer fails
 * meanwhile. */
/* PF-8 */
START_TEST(test_group_put_takes_apart)
{
	struct sconce_record letters[2] = { sconce_record_of("a", 1), sconce_record_of("b", 1) };
	struct sconce_record pair = { .items = letters, .count = 2 }, pairs[2] = { pair, pair };
	struct sconce_record both = { .items = pairs, .count = 2 };
	struct paper paper = paper_new();
	struct reader r;

	reader_open(&r, STACK(line_to(" ", NULL), MADE(group, 2, false), MADE(group, 2, false)));
	ck_assert_int_ge(sconce_framer_put(&r.framer, &both, &paper.sink), 0);
	ck_assert_str_eq(paper.wire.bytes, "a b a b ");
	ck_assert_uint_eq(sconce_framer_held(&r.framer), 0);
	reader_close(&r);

	reader_open(&r, MADE(group, 2, true));
	ck_assert_int_ge(sconce_framer_put(&r.framer, &both, &paper.sink), 0);
	ck_assert_str_eq(paper.wire.bytes, "a b a b abab");	/* a group that is held back has its items' bytes */
	paper.refuse = -EPIPE;
	paper.calls = 1;
	ck_assert_int_eq(sconce_framer_put(&r.framer, &letters[0], &paper.sink), 0);
	ck_assert_int_eq(sconce_framer_put(&r.framer, &letters[1], &paper.sink), -EPIPE);
	ck_assert_str_eq(paper.wire.bytes, "a b a b ababa");
	ck_assert_uint_eq(sconce_framer_held(&r.framer), 0);
	free(paper.wire.bytes);
	reader_close(&r);
}
END_TEST

/* ---- map and grep ---- */

/* Each letter of a record becomes a record; "!" is an error of the function, "?" one that it hides. */
static int
letters_of(const struct sconce_record *rec, struct sconce_sink *to, void *arg)
{
	const char *bytes = rec->data;
	int r = 0;

	for (size_t i = 0; i < rec->len && r >= 0; i++) {
		if (bytes[i] == '!')
			return -EPROTO;
		if (bytes[i] == '?')
			sconce_sink_bytes(to, bytes, 100);
		else
			r = sconce_sink_bytes(to, &bytes[i], 1);
	}
	if (arg != NULL)
		(*(int *)arg)++;
	return r;
}

static struct sconce_filter *
letters(sconce_map_fn *in, sconce_map_fn *out, int *calls)
{
	return STACK(line_to(" ", NULL), limited(MADE(map, in, out, calls), 50));
}

/* A function may make none, one or several of a record; what comes last is still told to be so. */
/* PF-9 */
START_TEST(test_map_in_makes_any_number)
{
	int calls = 0;

	READS(letters(letters_of, NULL, &calls), "ab  cde f", "<a><b><c><d><e><f>~");
	ck_assert_int_eq(calls, 4);
	READS(letters(NULL, letters_of, NULL), "ab c", "<ab><c>~");
	READS(MADE(map, letters_of, NULL, NULL), "ab", "<a><b>");
}
END_TEST

/* What it makes is given one at a time: the function is not called for a record before all of the one before it were
 * taken. */
/* PF-9, RW-3 */
START_TEST(test_map_in_is_called_when_asked)
{
	struct sconce_record rec;
	struct reader r;
	int calls = 0;

	reader_open(&r, letters(letters_of, NULL, &calls));
	ck_assert_int_eq(sconce_framer_feed(&r.framer, "ab cd ", 6), 0);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
	ck_assert_int_eq(calls, 2);
	ck_assert_mem_eq(rec.data, "c", 1);
	reader_close(&r);
}
END_TEST

/* A function's error ends the input, and so does one of the sink that the function overlooked. */
START_TEST(test_map_error_ends_the_input)
{
	struct sconce_record rec = sconce_record_of("a!", 2);
	struct paper paper = paper_new();
	struct reader r;

	READS(letters(letters_of, NULL, NULL), "ab ! c ", "<a><b>!the filter failed");
	READS(letters(letters_of, NULL, NULL), "ab ?c ", "<a><b>!record too long");
	reader_open(&r, letters(NULL, letters_of, NULL));
	ck_assert_int_eq(sconce_framer_put(&r.framer, &rec, &paper.sink), -EPROTO);
	ck_assert_str_eq(paper.wire.bytes, "a ");
	free(paper.wire.bytes);
	reader_close(&r);
}
END_TEST

static bool
is_short(const struct sconce_record *rec, void *arg)
{
	return rec->len < *(size_t *)arg;
}

/* Records that a function does not keep are as if they had not been. */
/* PF-9 */
START_TEST(test_grep_keeps_what_it_is_told)
{
	struct sconce_record rec[2] = { sconce_record_of("abc", 3), sconce_record_of("a", 1) };
	struct paper paper = paper_new();
	size_t limit = 3;
	struct reader r;

	READS(STACK(line_to(" ", NULL), MADE(grep, is_short, NULL, &limit)), "a abc  ab abcd", "<a><><ab>");
	READS(STACK(line_to(" ", NULL), MADE(grep, NULL, is_short, &limit)), "a abc", "<a><abc>~");
	reader_open(&r, STACK(line_to(" ", NULL), MADE(grep, NULL, is_short, &limit)));
	ck_assert_int_eq(sconce_framer_put(&r.framer, &rec[0], &paper.sink), 0);
	ck_assert_int_eq(sconce_framer_put(&r.framer, &rec[1], &paper.sink), 1);
	ck_assert_str_eq(paper.wire.bytes, "a ");
	free(paper.wire.bytes);
	reader_close(&r);
}
END_TEST

/* ---- stacks ---- */

static int
wrap(const struct sconce_record *rec, struct sconce_sink *to, void *arg)
{
	struct iovec iov[3] = { { arg, 1 }, { (void *)(uintptr_t)rec->data, rec->len }, { arg, 1 } };

	return sconce_sink_pieces(to, iov, 3);
}

/* Input goes from the first to the last, output from the last to the first, in stacks within stacks too. */
/* PF-10 */
START_TEST(test_stack_order_is_reversed_for_output)
{
	struct sconce_filter *f = STACK(line_any(), MADE(map, wrap, wrap, "1"),
		STACK(MADE(map, wrap, wrap, "2"), STACK(MADE(map, wrap, wrap, "3"))));

	READS(sconce_filter_ref(f), "x\n", "<321x123>");
	WRITES(f, "x", "123x321\\r\\n");
}
END_TEST

/* A stage that still holds data is emptied before the one in front of it is asked for more. */
/* PF-10 */
START_TEST(test_stack_inner_stages_are_driven_on)
{
	struct sconce_record rec;
	struct reader r;

	reader_open(&r, STACK(line_any(), MADE(split, ",", 1), MADE(map, letters_of, NULL, NULL)));
	ck_assert_int_eq(sconce_framer_feed(&r.framer, "ab,c\nd,,ef\n", 11), 0);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
	ck_assert_uint_eq(r.framer.in.len, 6);		/* the second line has not been looked at */
	reader_all(&r);
	reader_end(&r);
	ck_assert_str_eq(r.text, "<b><c><d><e><f>");
	reader_close(&r);
	READS(STACK(line_any(), MADE(split, ",", 1), MADE(group, 2, false)), "a,b\nc,d,\ne,f", "(<a><bc>)(<d><e>)(<f>)~");
}
END_TEST

/* At the end what is left goes through all that follow. */
/* PF-10, EM-15 */
START_TEST(test_stack_end_flows_through_all_stages)
{
	READS(STACK(MADE(fixed, 4), line_any(), MADE(map, letters_of, NULL, NULL), MADE(group, 2, false)), "ab\ncd\nef",
		"(<a><b>)(<c><d>)(<e>~<f>~)");
	READS(STACK(MADE(fixed, 4), last(), MADE(fixed, 3)), "abcdefgh", "<abc><def><gh>~");
	READS(STACK(last(), last()), "abc", "<abc>");
}
END_TEST

/* A stage's error is the connection's, and says what the stage said. */
START_TEST(test_stack_error_of_a_stage_is_told)
{
	READS(STACK(line_any(), limited(MADE(split, ",", 1), 3)), "a,b\nabcde\n", "<a>!record too long");
	READS(STACK(limited(line_any(), 3), MADE(split, ",", 1)), "a,b\nabcde\n", "<a>!line too long");
}
END_TEST

/* The same filter may stand in it twice, and outlives neither the stack nor is freed before it. */
/* PF-10 */
START_TEST(test_stack_same_filter_twice)
{
	struct sconce_filter *size = MADE(size, "C", 0), *both[2] = { size, size }, *holed[2] = { size, NULL }, *f;

	ck_assert_int_eq(sconce_filter_stack(both, 2, &f), 0);
	ck_assert_int_eq(sconce_filter_stack(both, 0, &none), -EINVAL);
	ck_assert_int_eq(sconce_filter_stack(holed, 2, &none), -EINVAL);
	ck_assert_int_eq(sconce_filter_stack(both, SIZE_MAX / 2, &none), -EINVAL);
	ck_assert_ptr_null(none);
	sconce_filter_unref(size);
	READS(sconce_filter_ref(f), "\3\1a\1\3b\2c", "<a><b><c>~");
	WRITES(f, "ab", "\\x03\\x02ab");
}
END_TEST

/* What is left is told apart if a stage tells it; the next record's size goes to the stage that has a use for it. */
/* IB-10, EM-49 */
START_TEST(test_stack_takes_after_its_stages)
{
	struct sconce_filter *apart = STACK(MADE(split, ",", 1), line_any()), *split = STACK(MADE(split, ",", 1), last());
	struct sconce_http_options heads = { .mode = SCONCE_HTTP_HEAD_ONLY };
	struct reader r;

	ck_assert(sconce_filter_returns_last(apart));
	ck_assert(!sconce_filter_returns_last(split));
	reader_open(&r, split);
	ck_assert_int_eq(sconce_framer_want(&r.framer, 1), -EINVAL);
	reader_close(&r);
	sconce_filter_unref(apart);
	reader_open(&r, STACK(MADE(http, &heads), MADE(map, NULL, NULL, NULL)));
	reader_feed(&r, "PUT / HTTP/1.0\r\nContent-Length: 2\r\n\r\nab", 39);
	ck_assert_int_eq(sconce_framer_want(&r.framer, 2), 0);
	reader_all(&r);
	ck_assert_str_eq(r.text, "<PUT / HTTP/1.0\\r\\nContent-Length: 2\\r\\n\\r\\n>^|<ab>#.");
	reader_close(&r);
}
END_TEST

/* ---- objects ---- */

struct point {
	int x, y;
};

static int
freeze_point(const struct sconce_record *rec, struct sconce_sink *to, void *arg)
{
	const struct point *p = rec->detail;
	char text[32];

	(void)arg;
	return sconce_sink_bytes(to, text, (size_t)snprintf(text, sizeof(text), "%d,%d", p->x, p->y));
}

static int
thaw_point(const struct sconce_record *rec, struct sconce_sink *to, void *arg)
{
	struct sconce_record made = sconce_record_of(rec->data, rec->len);
	struct point *p = arg;
	char text[32];

	snprintf(text, sizeof(text), "%.*s", (int)rec->len, (const char *)rec->data);
	if (sscanf(text, "%d,%d", &p->x, &p->y) != 2)
		return -EBADMSG;
	made.detail = p;
	return sconce_sink_record(to, &made);
}

static struct sconce_filter *
points(struct point *p, bool compress, bool no_fatals)
{
	struct sconce_frozen_options o = { freeze_point, thaw_point, p, compress, no_fatals };

	return MADE(frozen, &o);
}

/* An object is written as the bytes that its serializer makes, in a block, and read as the object that they make. */
/* PF-11 */
START_TEST(test_frozen_object_is_thawed)
{
	struct point sent = { 3, -4 }, got = { 0, 0 };
	struct sconce_record rec = { .detail = &sent };
	struct paper paper = paper_new();
	struct reader r;

	reader_open(&r, points(&got, false, false));
	ck_assert_int_eq(sconce_framer_put(&r.framer, &rec, &paper.sink), 1);
	ck_assert_uint_eq(paper.wire.len, 6);
	ck_assert_mem_eq(paper.wire.bytes, "4\0" "3,-4", 6);
	ck_assert_int_eq(sconce_framer_feed(&r.framer, paper.wire.bytes, paper.wire.len), 0);
	ck_assert_int_eq(sconce_framer_next(&r.framer, &rec), 1);
	ck_assert_ptr_eq(rec.detail, &got);
	ck_assert_int_eq(got.x, 3);
	ck_assert_int_eq(got.y, -4);
	free(paper.wire.bytes);
	reader_close(&r);
}
END_TEST

/* A block that cannot be read ends the input, or, if errors are not fatal, is a record that says so; the next one
 * follows. */
/* PF-11 */
START_TEST(test_frozen_no_fatals_turns_errors_into_records)
{
	struct point p;

	READS(points(&p, false, false), "3\0" "1,2" "1\0x" "3\0" "3,4", "<1,2>!malformed block");
	READS(points(&p, false, true), "3\0" "1,2" "1\0x" "3\0" "3,4", "<1,2><malformed block>?<3,4>");
	READS(limited(points(&p, false, true), 5), "9\0x", "!block too big");
	READS(MADE(frozen, &(struct sconce_frozen_options){ .thaw = letters_of, .no_fatals = true }), "3\0ab!1\0c",
		"<malformed block>?<c>");
	READS(points(&p, false, true), "x\0", "!malformed length");
}
END_TEST

static struct sconce_filter *
deflated(bool no_fatals)
{
	struct sconce_frozen_options o = { .compress = true, .no_fatals = no_fatals };

	return MADE(frozen, &o);
}

#define HELLO "13\0\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15"
#define CUT "12\0\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02"
#define LONGER "14\0\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x15x"
#define WRONG "13\0\x78\x9c\xcb\x48\xcd\xc9\xc9\x07\x00\x06\x2c\x02\x16"

static bool
no_zlib(void)
{
	struct sconce_frozen_options o = { .compress = true };

	if (sconce_filter_frozen(&o, &none) == -ENOTSUP)
		return true;
	sconce_filter_unref(none);
	none = NULL;
	return false;
}

/* Compressed blocks are those of zlib; one that is damaged, cut, or has something behind it is none. */
/* PF-11 */
START_TEST(test_frozen_compressed_block_is_whole_or_none)
{
	if (no_zlib())
		return;
	READS(deflated(false), HELLO HELLO, "<hello><hello>");
	READS(deflated(true), CUT LONGER WRONG "3\0abc" "0\0" HELLO,
		"<malformed block>?<malformed block>?<malformed block>?<malformed block>?<malformed block>?<hello>");
	READS(deflated(false), HELLO WRONG HELLO, "<hello>!malformed block");
}
END_TEST

/* What would inflate to more than a record may have is stopped there. */
/* PF-11, HZ-8 */
START_TEST(test_frozen_bomb_is_stopped_at_the_limit)
{
	struct sconce_record zeros = sconce_record_of(calloc(1, 1 << 20), 1 << 20);
	struct paper paper = paper_new();
	struct sconce_filter *f;
	struct reader r;
	struct text t;

	if (!no_zlib()) {
		reader_open(&r, deflated(false));
		ck_assert_int_eq(sconce_framer_put(&r.framer, &zeros, &paper.sink), 1);
		ck_assert_uint_lt(paper.wire.len, 2000);
		reader_close(&r);
		f = limited(deflated(false), (1 << 20) - 1);
		t = read_all(f, paper.wire.bytes, paper.wire.len);
		ck_assert_str_eq(t.bytes, "!block too big");
		sconce_filter_unref(f);
		free(t.bytes);
		f = limited(deflated(false), 5000);
		t = read_all(f, paper.wire.bytes, paper.wire.len);
		ck_assert_str_eq(t.bytes, "!block too big");
		sconce_filter_unref(f);
		free(t.bytes);
		reader_open(&r, limited(deflated(false), 1 << 20));
		ck_assert_int_eq(sconce_framer_feed(&r.framer, paper.wire.bytes, paper.wire.len), 0);
		reader_all(&r);
		ck_assert_uint_gt(r.out.len, 1 << 20);
		reader_close(&r);
	}
	free(paper.wire.bytes);
	free((void *)(uintptr_t)zeros.data);
}
END_TEST

Suite *
t_suite(void)
{
	Suite *s = suite_create("filters of records");
	TCase *c;

	if (no_zlib())
		puts("skip compression: built without zlib");
	c = t_case(s, "group");
	tcase_add_test(c, test_group_holds_items_and_their_bytes);
	tcase_add_test(c, test_group_nests_and_stands_alone);
	tcase_add_test(c, test_group_limit_and_refusals);
	tcase_add_test(c, test_group_put_takes_apart);

	c = t_case(s, "map");
	tcase_add_test(c, test_map_in_makes_any_number);
	tcase_add_test(c, test_map_in_is_called_when_asked);
	tcase_add_test(c, test_map_error_ends_the_input);
	tcase_add_test(c, test_grep_keeps_what_it_is_told);

	c = t_case(s, "stack");
	tcase_add_test(c, test_stack_order_is_reversed_for_output);
	tcase_add_test(c, test_stack_inner_stages_are_driven_on);
	tcase_add_test(c, test_stack_end_flows_through_all_stages);
	tcase_add_test(c, test_stack_error_of_a_stage_is_told);
	tcase_add_test(c, test_stack_same_filter_twice);
	tcase_add_test(c, test_stack_takes_after_its_stages);

	c = t_case(s, "frozen");
	tcase_add_test(c, test_frozen_object_is_thawed);
	tcase_add_test(c, test_frozen_no_fatals_turns_errors_into_records);
	tcase_add_test(c, test_frozen_compressed_block_is_whole_or_none);
	tcase_add_test(c, test_frozen_bomb_is_stopped_at_the_limit);
	return s;
}
