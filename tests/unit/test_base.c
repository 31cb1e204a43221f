/* base: every bound both ways; nothing is taken that is not completely understood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/box.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/jcs.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/secmem.h"
#include "base/text.h"

/* rc ------------------------------------------------------------------------------------------ */

static void codes_have_class_name_and_text(void **state)
{
    (void)state;
    assert_int_equal(rc_class(RC_OK), RC_CLASS_OK);
#define X(name, class, n, text)                                                                    \
    assert_int_equal(rc_class(name), class);                                                       \
    assert_string_equal(rc_name(name), #name);                                                     \
    assert_true(rc_text(name)[0] != '\0');                                                         \
    assert_true(rc_known(name));
    RC_LIST(X)
#undef X
    assert_false(rc_known(99));
    assert_string_equal(rc_name((enum rc)99), "RC_UNKNOWN");
    assert_string_equal(rc_text((enum rc)99), "unknown result code");
}

static void first_failure_is_kept(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(FAIL(&err, RC_REFUSED_RANGE, "x", 7, "first %d", 1), RC_REFUSED_RANGE);
    assert_int_equal(FAIL(&err, RC_HALT_LEDGER, "y", 8, "second"), RC_HALT_LEDGER);
    assert_int_equal(err.rc, RC_REFUSED_RANGE);
    assert_int_equal(err.native, 7);
    assert_string_equal(err.text, "first 1");
    assert_string_equal(err.where, "first_failure_is_kept");
    assert_int_equal(FAIL(NULL, RC_HALT_LEDGER, "", 0, "nobody listens"), RC_HALT_LEDGER);
    char longer[2 * ERR_TEXT_MAX];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    struct err cut = {0};
    (void)FAIL(&cut, RC_REFUSED_INPUT, "", 0, "%s", longer);
    assert_int_equal(strlen(cut.text), ERR_TEXT_MAX - 1);
    struct err bare = {.rc = RC_RETRY_BUSY};
    assert_string_equal(err_text(&bare), rc_text(RC_RETRY_BUSY));
}

static void a_bug_stops_the_process(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(STDERR_FILENO);
        MUST(1 + 1 == 3);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* bytes --------------------------------------------------------------------------------------- */

static void big_endian(void **state)
{
    (void)state;
    uint8_t b[8];
    be_put64(b, UINT64_C(0x0102030405060708));
    for (uint8_t i = 0; i < 8; i++)
        assert_int_equal(b[i], i + 1);
    assert_true(be_get64(b) == UINT64_C(0x0102030405060708));
    be_put32(b, 0xfffefdfc);
    assert_true(be_get32(b) == 0xfffefdfc);
    be_put16(b, 0xff01);
    assert_int_equal(be_get16(b), 0xff01);
}

static void hex(void **state)
{
    (void)state;
    uint8_t b[3] = {0x00, 0x9f, 0xff};
    char text[HEX_SIZE(3)];
    hex_encode(text, b, 3);
    assert_string_equal(text, "009fff");
    uint8_t back[3];
    assert_true(hex_decode(back, 3, "009FfF"));
    assert_memory_equal(back, b, 3);
    static const char *const bad[] = {"009ff", "009fff0", "009ffg", "", "00 9ff", "0x9fff"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memset(back, 1, sizeof(back));
        assert_false(hex_decode(back, 3, bad[i]));
        assert_memory_equal(back, "\0\0\0", 3);
    }
}

static void base64(void **state)
{
    (void)state;
    /* RFC 4648 §10 */
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        char text[BASE64_SIZE(6)];
        uint8_t back[6];
        size_t len = 9;
        base64_encode(text, (const uint8_t *)vectors[i][0], strlen(vectors[i][0]));
        assert_string_equal(text, vectors[i][1]);
        assert_true(base64_decode(back, sizeof(back), &len, text, strlen(text)));
        assert_int_equal(len, strlen(vectors[i][0]));
        assert_memory_equal(back, vectors[i][0], len);
    }
    static const char *const bad[] = {"Z",        "Zg",   "Zg=",  "Zh==", "Zm9=", "Zm9v\n",
                                      "Zg==Zg==", "====", "Z===", "Zm 9", "Zm9_"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint8_t back[16];
        size_t len = 9;
        assert_false(base64_decode(back, sizeof(back), &len, bad[i], strlen(bad[i])));
        assert_int_equal(len, 0);
    }
    uint8_t two[2];
    size_t len = 0;
    assert_false(base64_decode(two, sizeof(two), &len, "Zm9v", 4)); /* one byte too many */
}

static void compare_and_wipe(void **state)
{
    (void)state;
    char a[] = "secret";
    assert_true(ct_equal(a, "secret", 6));
    assert_false(ct_equal(a, "secreu", 6));
    assert_false(ct_equal(a, "tecret", 6));
    assert_true(ct_equal(a, "x", 0));
    wipe(a, sizeof(a));
    assert_memory_equal(a, "\0\0\0\0\0\0\0", sizeof(a));
}

/* text ---------------------------------------------------------------------------------------- */

static void numbers(void **state)
{
    (void)state;
    uint64_t v = 1;
    assert_true(text_to_u64(&v, "0", 0));
    assert_true(v == 0);
    assert_true(text_to_u64(&v, "18446744073709551615", UINT64_MAX));
    assert_true(v == UINT64_MAX);
    assert_true(text_to_u64(&v, "100", 100));
    static const char *const bad[] = {
        "", "00", "01", "+1", "-1", " 1", "1 ", "1a", "0x1", "101", "18446744073709551616"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        v = 7;
        assert_false(text_to_u64(&v, bad[i], 100));
        assert_true(v == 0);
    }
}

static void times(void **state)
{
    (void)state;
    static const struct {
        int64_t s;
        const char *text;
    } good[] = {{0, "1970-01-01T00:00:00Z"},
                {951782400, "2000-02-29T00:00:00Z"},
                {1796515200, "2026-12-06T00:00:00Z"},
                {4107542399, "2100-02-28T23:59:59Z"},
                {RFC3339_S_MAX, "9999-12-31T23:59:59Z"}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char text[RFC3339_SIZE];
        int64_t s = -1;
        rfc3339_print(text, good[i].s);
        assert_string_equal(text, good[i].text);
        assert_true(rfc3339_parse(&s, good[i].text));
        assert_true(s == good[i].s);
    }
    static const char *const bad[] = {"",
                                      "2026-12-06",
                                      "2026-12-06T00:00:00",
                                      "2026-12-06 00:00:00Z",
                                      "2026-12-06T00:00:00z",
                                      "2026-13-06T00:00:00Z",
                                      "2026-02-29T00:00:00Z",
                                      "2100-02-29T00:00:00Z",
                                      "2026-12-06T24:00:00Z",
                                      "2026-12-06T00:60:00Z",
                                      "2026-12-06T00:00:60Z",
                                      "1969-12-31T23:59:59Z",
                                      "2026-12-06T00:00:00+",
                                      "2026-12-06T00:00:00.0Z",
                                      "2026-00-06T00:00:00Z",
                                      "2026-12-00T00:00:00Z",
                                      "+026-12-06T00:00:00Z"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t s = 7;
        assert_false(rfc3339_parse(&s, bad[i]));
        assert_true(s == 0);
    }
    char text[RFC3339_SIZE];
    rfc3339_print(text, -5);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    rfc3339_print(text, INT64_MAX);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
    /* Every day of 400 years there and back. */
    for (int64_t day = 0; day < 146097; day++) {
        int64_t s = 0;
        rfc3339_print(text, day * 86400 + 12345);
        assert_true(rfc3339_parse(&s, text));
        assert_true(s == day * 86400 + 12345);
    }
}

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t s;
        const char *printed;
    } good[] = {{"P7D", 604800, "P7D"},       {"P1W", 604800, "P7D"},
                {"PT1H", 3600, "PT1H"},       {"PT90M", 5400, "PT90M"},
                {"PT1H30M", 5400, "PT90M"},   {"PT1S", 1, "PT1S"},
                {"P1DT12H", 129600, "PT36H"}, {"P1W2DT3H4M5S", 788645, "PT788645S"}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t s = 0;
        char printed[DURATION_SIZE];
        assert_true(duration_parse(&s, good[i].text));
        assert_true(s == good[i].s);
        duration_print(printed, s);
        assert_string_equal(printed, good[i].printed);
    }
    static const char *const bad[] = {"",
                                      "P",
                                      "PT",
                                      "7D",
                                      "P7",
                                      "P-7D",
                                      "P1M",
                                      "P1Y",
                                      "PT1D",
                                      "P1H",
                                      "PT1M1H",
                                      "PT0S",
                                      "P1D1D",
                                      "P7D ",
                                      "p7d",
                                      "PTT1H",
                                      "P1.5D",
                                      "PT100000000001S",
                                      "P99999999999999999999D"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t s = 7;
        assert_false(duration_parse(&s, bad[i]));
        assert_true(s == 0);
    }
}

static void names_and_tokens(void **state)
{
    (void)state;
    char longest[NAME_LEN_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[NAME_LEN_MAX] = '\0';
    assert_true(name_valid(longest));
    longest[NAME_LEN_MAX] = 'a';
    longest[NAME_LEN_MAX + 1] = '\0';
    assert_false(name_valid(longest));
    assert_true(name_valid("Router-fw_2.0"));
    static const char *const bad[] = {"", ".", "..", "-x", ".x", "a/b", "a b", "a\n", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(name_valid(bad[i]));
    assert_true(token_valid("ci-88123 / main", 15));
    assert_false(token_valid("ci-88123 / main", 14));
    assert_true(token_valid("", 0));
    assert_false(token_valid("a\"b", 9));
    assert_false(token_valid("a\\b", 9));
    assert_false(token_valid("a\tb", 9));
    assert_false(token_valid("\x7f", 9));
}

static void copied_text_always_ends(void **state)
{
    (void)state;
    char to[6];
    memset(to, 'x', sizeof(to));
    text_copy(to, sizeof(to), "ab");
    assert_memory_equal(to, "ab\0\0\0\0", sizeof(to));
    text_copy(to, sizeof(to), "abcde");
    assert_string_equal(to, "abcde");
    text_copy(to, sizeof(to), "abcdef");
    assert_string_equal(to, "abcde");
    text_copy(to, 1, "abc");
    assert_string_equal(to, "");
}

/* jcs ----------------------------------------------------------------------------------------- */

static void canonical_json(void **state)
{
    (void)state;
    struct jcs j CLEANUP(jcs_wipe) = {0};
    jcs_object_open(&j);
    jcs_key(&j, "a");
    jcs_array_open(&j);
    jcs_int(&j, -1);
    jcs_null(&j);
    jcs_bool(&j, true);
    jcs_array_open(&j);
    jcs_array_close(&j);
    jcs_array_close(&j);
    jcs_member_u64(&j, "b", UINT64_C(1) << 53);
    jcs_member_u64(&j, "c", (UINT64_C(1) << 53) + 1);
    jcs_member_string(&j, "d", "\"\\\b\t\n\v\f\r\x01/\x7f\xc3\xa4");
    jcs_member_hex(&j, "e", (const uint8_t *)"\x00\xff", 2);
    jcs_member_bool(&j, "f", false);
    jcs_key(&j, "g");
    jcs_object_open(&j);
    jcs_object_close(&j);
    jcs_object_close(&j);
    assert_true(jcs_finish(&j));
    assert_string_equal(j.text, "{\"a\":[-1,null,true,[]],\"b\":9007199254740992,"
                                "\"c\":\"9007199254740993\","
                                "\"d\":\"\\\"\\\\\\b\\t\\n\\u000b\\f\\r\\u0001/\x7f\xc3\xa4\","
                                "\"e\":\"00ff\",\"f\":false,\"g\":{}}");
    assert_int_equal(j.len, strlen(j.text));
}

static void unsorted_members_are_a_bug(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(STDERR_FILENO);
        struct jcs j = {0};
        jcs_object_open(&j);
        jcs_member_int(&j, "b", 1);
        jcs_member_int(&j, "a", 1);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

/* digest, secmem, box ------------------------------------------------------------------------- */

static void digests(void **state)
{
    (void)state;
    uint8_t expected[32];
    uint8_t got[64];
    assert_true(hex_decode(expected, 32,
                           "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    digest_buffer(DIGEST_SHA256, got, "abc", 3);
    assert_memory_equal(got, expected, 32);
    sha256_2(got, "a", 1, "bc", 2);
    assert_memory_equal(got, expected, 32);
    struct digest d CLEANUP(digest_close) = {0};
    assert_int_equal(digest_open(&d, DIGEST_SHA256, NULL), RC_OK);
    digest_update(&d, "ab", 2);
    digest_update(&d, "c", 1);
    digest_final(&d, got);
    assert_memory_equal(got, expected, 32);
    /* RFC 4231 test case 2 */
    assert_true(hex_decode(expected, 32,
                           "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"));
    hmac_sha256(got, "Jefe", 4, "what do ya want for nothing?", 28);
    assert_memory_equal(got, expected, 32);
    enum digest_kind kind = DIGEST_SHA256;
    assert_true(digest_by_name(&kind, "sha512"));
    assert_int_equal(kind, DIGEST_SHA512);
    assert_int_equal(digest_len(kind), 64);
    assert_string_equal(digest_name(DIGEST_SHA384), "sha384");
    assert_false(digest_by_name(&kind, "md5"));
}

static void box(void **state)
{
    (void)state;
    static const uint8_t salt[BOX_SALT_LEN] = {1, 2, 3};
    static const uint8_t binding[32] = {4};
    static const uint8_t other[32] = {5};
    struct box_cost cost = {.memory_kib = 8192, .passes = 1};
    uint8_t *key = secmem_alloc(BOX_KEY_LEN);
    assert_non_null(key);
    assert_int_equal(box_key(key, "correct horse", 13, salt, &cost, NULL), RC_OK);
    char data[] = "window secret";
    uint8_t tag[BOX_TAG_LEN];
    assert_int_equal(box_seal(key, 3, binding, (uint8_t *)data, sizeof(data), tag, NULL), RC_OK);
    assert_string_not_equal(data, "window secret");
    char copy[sizeof(data)];
    memcpy(copy, data, sizeof(data));
    assert_int_equal(box_open(key, 3, binding, (uint8_t *)copy, sizeof(copy), tag, NULL), RC_OK);
    assert_string_equal(copy, "window secret");
    memcpy(copy, data, sizeof(data));
    assert_int_equal(box_open(key, 4, binding, (uint8_t *)copy, sizeof(copy), tag, NULL),
                     RC_REFUSED_PASSPHRASE);
    assert_int_equal(copy[0], 0); /* nothing of a wrong text is left */
    memcpy(copy, data, sizeof(data));
    assert_int_equal(box_open(key, 3, other, (uint8_t *)copy, sizeof(copy), tag, NULL),
                     RC_REFUSED_PASSPHRASE);
    memcpy(copy, data, sizeof(data));
    copy[2] ^= 1;
    assert_int_equal(box_open(key, 3, binding, (uint8_t *)copy, sizeof(copy), tag, NULL),
                     RC_REFUSED_PASSPHRASE);
    assert_int_equal(box_key(key, "wrong horse", 11, salt, &cost, NULL), RC_OK);
    memcpy(copy, data, sizeof(data));
    assert_int_equal(box_open(key, 3, binding, (uint8_t *)copy, sizeof(copy), tag, NULL),
                     RC_REFUSED_PASSPHRASE);
    cost.memory_kib = 8191;
    assert_int_equal(box_key(key, "x", 1, salt, &cost, NULL), RC_REFUSED_RANGE);
    cost = (struct box_cost){.memory_kib = 8192, .passes = 65};
    assert_int_equal(box_key(key, "x", 1, salt, &cost, NULL), RC_REFUSED_RANGE);
    secmem_free(key);
}

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif

/* What the kernel says of the pages at p: "rd wr … lo … dd" (proc(5)). */
static void vm_flags(const void *p, char flags[256])
{
    char line[512];
    bool found = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    assert_non_null(f);
    flags[0] = '\0';
    while (fgets(line, sizeof(line), f) != NULL) {
        char *end = NULL;
        unsigned long from = strtoul(line, &end, 16);
        if (end != line && *end == '-')
            found = (uintptr_t)p >= from && (uintptr_t)p < strtoul(end + 1, NULL, 16);
        if (found && strncmp(line, "VmFlags:", 8) == 0) {
            text_copy(flags, 256, line + 8);
            break;
        }
    }
    (void)fclose(f);
}

static void locked_pages(void **state)
{
    (void)state;
    enum { LEN = 100000 };
    char flags[256];
    struct err err = {0};
    uint8_t *p = NULL;
    assert_int_equal(secmem_map((void **)&p, LEN, &err), RC_OK);
    for (size_t i = 0; i < LEN; i++)
        assert_int_equal(p[i], 0);
    vm_flags(p, flags);
#ifndef SANITIZED                          /* a sanitizer's mlock() does nothing */
    assert_non_null(strstr(flags, " lo")); /* never swapped */
#endif
    assert_non_null(strstr(flags, " dd")); /* in no core dump */
    p[LEN - 1] = 1;
    secmem_unmap(p, LEN);
    vm_flags(p, flags);
    assert_string_equal(flags, "");
    secmem_unmap(NULL, LEN);
    /* More than there is: nothing is given, and why. */
    assert_int_equal(secmem_map((void **)&p, SIZE_MAX / 2, &err), RC_RETRY_SYSTEM);
    assert_null(p);
    assert_non_null(strstr(err_text(&err), "LimitMEMLOCK"));
}

/* files and locks ----------------------------------------------------------------------------- */

static int temp_dir(char path[32])
{
    strcpy(path, "/tmp/tidemark-base.XXXXXX");
    assert_non_null(mkdtemp(path));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void files(void **state)
{
    (void)state;
    char path[32];
    int dir = temp_dir(path);
    char *data = NULL;
    size_t len = 0;
    assert_int_equal(file_read(dir, "x", 10, &data, &len, NULL), RC_REFUSED_NOT_FOUND);
    assert_int_equal(file_write_new(dir, "x", 0600, "hello", 5, NULL), RC_OK);
    assert_int_equal(file_write_new(dir, "x", 0600, "other", 5, NULL), RC_REFUSED_EXISTS);
    assert_int_equal(file_read(dir, "x", 5, &data, &len, NULL), RC_OK);
    assert_int_equal(len, 5);
    assert_string_equal(data, "hello");
    free(data);
    assert_int_equal(file_read(dir, "x", 4, &data, &len, NULL), RC_REFUSED_TOO_LARGE);
    assert_null(data);
    assert_int_equal(file_read(dir, ".", 4, &data, &len, NULL), RC_HALT_SYSTEM);
    struct stat st;
    assert_int_equal(fstatat(dir, "x", &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(unlinkat(dir, "x", 0), 0);
    /* Nothing but "x" was left, so the folder goes. */
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(file_write_new(dir, "y", 0600, "a", 1, NULL), RC_HALT_SYSTEM);
    fd_close(&dir);
    assert_int_equal(dir, -1);
    fd_close(&dir);
    struct err err = {0};
    assert_int_equal(dir_sync(-1, &err), RC_HALT_SYSTEM);
    uint8_t byte = 0;
    assert_false(pread_full(-1, &byte, 1, 0));
    assert_false(pwrite_full(-1, &byte, 1, 0));
}

static void locks(void **state)
{
    (void)state;
    char path[32];
    int dir = temp_dir(path);
    int first = -1;
    int second = -1;
    assert_int_equal(lock_take(dir, SERVICE_LOCK, 0, &first, NULL), RC_OK);
    /* Open-file-description locks exclude each other inside one process, too. */
    assert_int_equal(lock_take(dir, SERVICE_LOCK, 60, &second, NULL), RC_RETRY_BUSY);
    assert_int_equal(second, -1);
    assert_int_equal(lock_take(dir, SERVICE_LOCK, 0, &second, NULL), RC_RETRY_BUSY);
    assert_int_equal(second, -1);
    assert_int_equal(lock_take(dir, CORE_LOCK, 0, &second, NULL), RC_OK);
    fd_close(&second);
    fd_close(&first);
    assert_int_equal(lock_take(dir, SERVICE_LOCK, 0, &second, NULL), RC_OK);
    fd_close(&second);
    (void)unlinkat(dir, SERVICE_LOCK, 0);
    (void)unlinkat(dir, CORE_LOCK, 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(lock_take(dir, SERVICE_LOCK, 0, &second, NULL), RC_HALT_STATE_DIR);
    fd_close(&dir);
}

/* log ----------------------------------------------------------------------------------------- */

static void log_lines_are_json(void **state)
{
    (void)state;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    int saved = dup(STDERR_FILENO);
    assert_true(dup2(pipes[1], STDERR_FILENO) >= 0);
    struct err err = {0};
    (void)FAIL(&err, RC_HALT_LEDGER, "sqlite", 13, "disk \"full\"\n");
    log_event(LOG_LEVEL_ERROR,
              &(struct log_fields){
                  .key = "fw", .index = 7, .state = "burned", .request_id = "r1", .err = &err},
              "text with \"quotes\" and\nlines");
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    char line[2048] = {0};
    assert_true(read(pipes[0], line, sizeof(line) - 1) > 0);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    (void)close(saved);
    /* One line, whatever stands in the text. */
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_non_null(strstr(line, "\"error\":\"disk \\\"full\\\"\\n\",\"index\":7,\"key\":\"fw\""));
    assert_non_null(strstr(line, "\"rc\":\"RC_HALT_LEDGER\",\"request_id\":\"r1\""));
}

/* What would have gone to the journal, instead of sending it (the linker wraps the call). */
static char journal[16][1024];
static int journal_count;
int __wrap_sd_journal_sendv(const struct iovec *fields, int count);

int __wrap_sd_journal_sendv(const struct iovec *fields, int count)
{
    journal_count = count < 16 ? count : 16;
    for (int i = 0; i < journal_count; i++)
        (void)snprintf(journal[i], sizeof(journal[i]), "%.*s", (int)fields[i].iov_len,
                       (const char *)fields[i].iov_base);
    return 0;
}

/* The value of a field, or NULL. */
static const char *journal_field(const char *name)
{
    size_t len = strlen(name);
    for (int i = 0; i < journal_count; i++)
        if (strncmp(journal[i], name, len) == 0 && journal[i][len] == '=')
            return journal[i] + len + 1;
    return NULL;
}

static void log_fields_go_to_the_journal(void **state)
{
    (void)state;
    struct err err = {0};
    char first[40];
    (void)FAIL(&err, RC_HALT_LEDGER, "sqlite", 13, "disk full");
    const struct log_fields fields = {
        .key = "fw", .index = 7, .state = "burned", .request_id = "r1", .err = &err};
    assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);
    log_open("core");
    log_event(LOG_LEVEL_ERROR, &fields, "%s is %s", "fw", "burned");
    static const char *const want[][2] = {
        {"MESSAGE", "fw is burned"}, {"PRIORITY", "3"},
        {"PROCESS", "core"},         {"KEY_ID", "fw"},
        {"OTS_INDEX", "7"},          {"STATE", "burned"},
        {"REQUEST_ID", "r1"},        {"RC", "RC_HALT_LEDGER"},
        {"ORIGIN", "sqlite"},        {"NATIVE", "13"},
        {"REASON", "disk full"},
    };
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_non_null(journal_field(want[i][0]));
        assert_string_equal(journal_field(want[i][0]), want[i][1]);
    }
    assert_non_null(journal_field("WHERE"));
    /* One number for a kind of event, whatever it says this time, and another for another kind. */
    assert_int_equal(strspn(journal_field("MESSAGE_ID"), "0123456789abcdef"), 32);
    (void)snprintf(first, sizeof(first), "%s", journal_field("MESSAGE_ID"));
    log_event(LOG_LEVEL_INFO, &LOG_NOTHING, "%s is %s", "other", "well");
    assert_string_equal(journal_field("MESSAGE_ID"), first);
    assert_null(journal_field("KEY_ID"));
    assert_null(journal_field("OTS_INDEX"));
    log_event(LOG_LEVEL_INFO, &LOG_NOTHING, "%s was %s", "other", "well");
    assert_string_not_equal(journal_field("MESSAGE_ID"), first);
    assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
    log_open("test");
}

/* With an argument, the tests whose names it matches (* and ?). */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    struct err err = {0};
    if (base_init(&err) != RC_OK || base_init(&err) != RC_OK) {
        print_error("%s\n", err_text(&err));
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_have_class_name_and_text),
        cmocka_unit_test(first_failure_is_kept),
        cmocka_unit_test(a_bug_stops_the_process),
        cmocka_unit_test(big_endian),
        cmocka_unit_test(hex),
        cmocka_unit_test(base64),
        cmocka_unit_test(compare_and_wipe),
        cmocka_unit_test(numbers),
        cmocka_unit_test(times),
        cmocka_unit_test(durations),
        cmocka_unit_test(names_and_tokens),
        cmocka_unit_test(copied_text_always_ends),
        cmocka_unit_test(canonical_json),
        cmocka_unit_test(unsorted_members_are_a_bug),
        cmocka_unit_test(digests),
        cmocka_unit_test(box),
        cmocka_unit_test(locked_pages),
        cmocka_unit_test(files),
        cmocka_unit_test(locks),
        cmocka_unit_test(log_lines_are_json),
        cmocka_unit_test(log_fields_go_to_the_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
