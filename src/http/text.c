/* Texts: reasons, dates, and what errors are called and answered with. */
#include "chars.h"

const char *
sconce_http_reason(int status)
{
	static const struct { int status; const char *reason; } reasons[] = {
		{ 100, "Continue" }, { 101, "Switching Protocols" }, { 102, "Processing" },
		{ 103, "Early Hints" },
		{ 200, "OK" }, { 201, "Created" }, { 202, "Accepted" },
		{ 203, "Non-Authoritative Information" }, { 204, "No Content" },
		{ 205, "Reset Content" }, { 206, "Partial Content" }, { 207, "Multi-Status" },
		{ 208, "Already Reported" }, { 226, "IM Used" },
		{ 300, "Multiple Choices" }, { 301, "Moved Permanently" }, { 302, "Found" },
		{ 303, "See Other" }, { 304, "Not Modified" }, { 305, "Use Proxy" },
		{ 307, "Temporary Redirect" }, { 308, "Permanent Redirect" },
		{ 400, "Bad Request" }, { 401, "Unauthorized" }, { 402, "Payment Required" },
		{ 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
		{ 406, "Not Acceptable" }, { 407, "Proxy Authentication Required" },
		{ 408, "Request Timeout" }, { 409, "Conflict" }, { 410, "Gone" },
		{ 411, "Length Required" }, { 412, "Precondition Failed" },
		{ 413, "Content Too Large" }, { 414, "URI Too Long" },
		{ 415, "Unsupported Media Type" }, { 416, "Range Not Satisfiable" },
		{ 417, "Expectation Failed" }, { 421, "Misdirected Request" },
		{ 422, "Unprocessable Content" }, { 423, "Locked" }, { 424, "Failed Dependency" },
		{ 425, "Too Early" }, { 426, "Upgrade Required" }, { 428, "Precondition Required" },
		{ 429, "Too Many Requests" }, { 431, "Request Header Fields Too Large" },
		{ 451, "Unavailable For Legal Reasons" },
		{ 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" },
		{ 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" }, { 506, "Variant Also Negotiates" },
		{ 507, "Insufficient Storage" }, { 508, "Loop Detected" },
		{ 511, "Network Authentication Required" },
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "";
}

static const struct error {
	int		status;		/* that answers it */
	const char	*text;
} errors[] = {
	[SCONCE_HTTP_OK] = { 200, "no error" },
	[SCONCE_HTTP_E_HEAD_TOO_LARGE] = { 431, "head too large" },
	[SCONCE_HTTP_E_TARGET_TOO_LONG] = { 414, "request target too long" },
	[SCONCE_HTTP_E_TOO_MANY_FIELDS] = { 431, "too many header fields" },
	[SCONCE_HTTP_E_EMPTY_LINES] = { 400, "too many empty lines before the request" },
	[SCONCE_HTTP_E_BARE_CR] = { 400, "CR without LF" },
	[SCONCE_HTTP_E_BARE_LF] = { 400, "LF without CR" },
	[SCONCE_HTTP_E_METHOD] = { 400, "malformed method" },
	[SCONCE_HTTP_E_METHOD_TOO_LONG] = { 501, "method too long" },
	[SCONCE_HTTP_E_TARGET] = { 400, "malformed request target" },
	[SCONCE_HTTP_E_CONNECT] = { 501, "CONNECT is not supported" },
	[SCONCE_HTTP_E_VERSION_SYNTAX] = { 400, "malformed HTTP version" },
	[SCONCE_HTTP_E_VERSION] = { 505, "HTTP version not supported" },
	[SCONCE_HTTP_E_STATUS_LINE] = { 502, "malformed status line" },
	[SCONCE_HTTP_E_NAME] = { 400, "malformed field name" },
	[SCONCE_HTTP_E_SPACE_BEFORE_COLON] = { 400, "white space between field name and colon" },
	[SCONCE_HTTP_E_FOLD] = { 400, "header line begins with white space" },
	[SCONCE_HTTP_E_VALUE] = { 400, "control character in a field value" },
	[SCONCE_HTTP_E_NO_HOST] = { 400, "no Host field" },
	[SCONCE_HTTP_E_TWO_HOSTS] = { 400, "more than one Host field" },
	[SCONCE_HTTP_E_HOST] = { 400, "malformed Host field" },
	[SCONCE_HTTP_E_LENGTH] = { 400, "malformed Content-Length" },
	[SCONCE_HTTP_E_TWO_LENGTHS] = { 400, "more than one Content-Length" },
	[SCONCE_HTTP_E_LENGTH_TOO_LARGE] = { 413, "Content-Length too large" },
	[SCONCE_HTTP_E_CODING] = { 400, "Transfer-Encoding is not one final chunked" },
	[SCONCE_HTTP_E_CODING_UNKNOWN] = { 501, "transfer coding not supported" },
	[SCONCE_HTTP_E_CODING_VERSION] = { 400, "Transfer-Encoding in HTTP/1.0" },
	[SCONCE_HTTP_E_LENGTH_AND_CODING] = { 400, "both Content-Length and Transfer-Encoding" },
	[SCONCE_HTTP_E_CONNECTION] = { 400, "malformed Connection field" },
	[SCONCE_HTTP_E_EXPECT] = { 417, "unknown expectation" },
	[SCONCE_HTTP_E_BODY_FORBIDDEN] = { 502, "a body where the status allows none" },
	[SCONCE_HTTP_E_CHUNK_SIZE] = { 400, "malformed chunk size" },
	[SCONCE_HTTP_E_CHUNK_TOO_LARGE] = { 413, "chunk too large" },
	[SCONCE_HTTP_E_CHUNK_EXTENSION] = { 400, "malformed or too long chunk extension" },
	[SCONCE_HTTP_E_CHUNK_END] = { 400, "chunk data not followed by CRLF" },
	[SCONCE_HTTP_E_TRAILER] = { 400, "malformed trailer field" },
	[SCONCE_HTTP_E_TRAILER_TOO_LARGE] = { 431, "trailer section too large" },
	[SCONCE_HTTP_E_TRUNCATED] = { 400, "connection ended inside the body" },
};

_Static_assert(sizeof(errors) / sizeof(errors[0]) == SCONCE_HTTP_E_COUNT, "every error has its line");

int
sconce_http_error_status(enum sconce_http_error error)
{
	return (unsigned)error < SCONCE_HTTP_E_COUNT ? errors[error].status : 400;
}

const char *
sconce_http_error_text(enum sconce_http_error error)
{
	return (unsigned)error < SCONCE_HTTP_E_COUNT ? errors[error].text : "unknown error";
}

bool
sconce_http_is_idempotent(enum sconce_http_method method)
{
	switch (method) {
	case SCONCE_HTTP_GET:
	case SCONCE_HTTP_HEAD:
	case SCONCE_HTTP_PUT:
	case SCONCE_HTTP_DELETE:
	case SCONCE_HTTP_OPTIONS:
	case SCONCE_HTTP_TRACE:
		return true;
	default:
		return false;
	}
}

/* Writes `n` as `digits` decimal digits. */
static char *
decimal(char *at, unsigned n, int digits)
{
	for (int i = digits - 1; i >= 0; i--, n /= 10)
		at[i] = (char)('0' + n % 10);
	return at + digits;
}

static char *
copy(char *at, const char *text, size_t len)
{
	memcpy(at, text, len);
	return at + len;
}

/* Day numbers count from 1 March of the year 0, so that a leap day is the last of its year: then months follow a
 * pattern of 153 days in five, and years one of 1461 days in four. */
size_t
sconce_http_date(char *out, time_t t)
{
	const int64_t first = INT64_C(-62167219200), last = INT64_C(253402300799); /* years 0 and 9999 */
	uint64_t seconds;
	unsigned days, second, era, day, year, month;
	char *at = out;

	if ((int64_t)t < first || (int64_t)t > last)
		return 0;
	seconds = (uint64_t)((int64_t)t - first);
	second = (unsigned)(seconds % 86400);
	days = (unsigned)(seconds / 86400);		/* from 1 January 0, a Saturday */
	at = copy(at, &"SatSunMonTueWedThuFri"[days % 7 * 3], 3);

	days += 400 * 1461 / 4 - 3 - 60;		/* one era more, so that it stays positive */
	era = days / 146097;
	day = days % 146097;
	year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	day -= year * 365 + year / 4 - year / 100;
	month = (5 * day + 2) / 153;			/* 0 is March */
	day -= (153 * month + 2) / 5;
	year += era * 400 - 400 + (month >= 10);

	at = copy(at, ", ", 2);
	at = decimal(at, day + 1, 2);
	*at++ = ' ';
	at = copy(at, &"MarAprMayJunJulAugSepOctNovDecJanFeb"[month * 3], 3);
	*at++ = ' ';
	at = decimal(at, year, 4);
	*at++ = ' ';
	at = decimal(at, second / 3600, 2);
	*at++ = ':';
	at = decimal(at, second / 60 % 60, 2);
	*at++ = ':';
	at = decimal(at, second % 60, 2);
	copy(at, " GMT", 5);
	return SCONCE_HTTP_DATE_BYTES - 1;
}
