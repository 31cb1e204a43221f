/*
 * attack [SECONDS [LEAVES_LOG2 [calm]]]: a whole service under attack, with honest clients beside.
 *
 * Attackers come over TCP, where they are one identity that may sign a little, and over TLS without
 * a good certificate: slow headers, silence, huge headers, half uploads, random bytes and mutated
 * requests, floods of connections, garbage for a handshake, wrong certificates, idempotency keys of
 * others over other bytes, and as many signatures as they can get. Honest clients come over the
 * unix socket and with a good certificate; they sign new artifacts and ask again for old ones, and
 * each of their requests has to be answered in the end, rightly. Every signature that anybody got
 * is verified afterwards and compared with all others and with the ledger (evidence.h).
 *
 * The last line says what happened; the exit status is 1 if an answer was wrong, an index was used
 * twice, the front did not live through it, or (from a minute on) memory grew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "lib/certs.h"
#include "lib/evidence.h"

#define KEY "load"
#define SIGN_PATH "/v1/keys/" KEY "/signatures?window=current"
#define HONEST_UNIX 4
#define HONEST (HONEST_UNIX + 1)
#define SAMPLES_MAX 100000
#define PAUSE_MS 100         /* between two requests of an honest client */
#define ANSWER_MS_MAX 120000 /* an honest request, with all its repetitions */
#define FLAT_FROM_S 60       /* shorter runs say nothing about growth */
#define FLAT_KIB (4 * 1024)  /* that much more, and a tenth, is still flat */
#define KEEP_MAX 48          /* sockets that one attacker keeps open */

static struct clocks clocks;
static struct service service;
static struct evidence evidence = EVIDENCE_EMPTY;
static uint16_t tcp_port, tls_port;
static unsigned seconds = 3, leaves_log2 = 10;
static bool calm; /* no attackers, to compare with */
static atomic_bool over;
static atomic_uint wrong, repeated, attacks, attackers_signed;
static char summary[512];

/* What is wrong is said at once, and counted. */
static void PRINTF_LIKE(1, 2) say_wrong(const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    (void)fprintf(stderr, "WRONG: %s\n", text);
    atomic_fetch_add(&wrong, 1);
}

static uint64_t roll(uint64_t *state, uint64_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return (*state >> 33) % n;
}

/* Honest clients --------------------------------------------------------------------------------
 */

struct honest {
    unsigned number;
    pthread_t thread;
    CURL *tls; /* NULL: over the unix socket */
    struct client unix_client;
    uint64_t random;
    unsigned made; /* artifacts that were signed */
    size_t count;
    uint32_t ms[SAMPLES_MAX / HONEST]; /* how long each request took */
};

static struct honest honest[HONEST];

static size_t collect(char *data, size_t size, size_t count, void *to)
{
    struct answer *a = to;
    char *grown = realloc(a->body, a->len + size * count + 1);
    if (grown == NULL)
        return 0;
    a->body = grown;
    memcpy(a->body + a->len, data, size * count);
    a->len += size * count;
    a->body[a->len] = '\0';
    return size * count;
}

static size_t collect_head(char *data, size_t size, size_t count, void *to)
{
    struct answer *a = to;
    char *grown = realloc(a->head, a->head_len + size * count + 1);
    if (grown == NULL)
        return 0;
    a->head = grown;
    memcpy(a->head + a->head_len, data, size * count);
    a->head_len += size * count;
    a->head[a->head_len] = '\0';
    return size * count;
}

/* One request over a connection of libcurl's own. @return status, 0: none. */
static long curl_ask(CURL *curl, struct answer *a, const char *url, const char *idempotency_key,
                     const char *artifact)
{
    char header[160];
    struct curl_slist *headers = NULL;
    *a = (struct answer){0};
    (void)snprintf(header, sizeof(header), "Idempotency-Key: %s", idempotency_key);
    headers = curl_slist_append(headers, header);
    headers = curl_slist_append(headers, "Content-Type: application/octet-stream");
    headers = curl_slist_append(headers, "Expect:");
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, artifact);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(artifact));
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, a);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, collect_head);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, a);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_IPRESOLVE, (long)CURL_IPRESOLVE_V4);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
    if (curl_easy_perform(curl) == CURLE_OK)
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &a->status);
    curl_slist_free_all(headers);
    if (a->body != NULL)
        a->json = json_loadb(a->body, a->len, 0, NULL);
    return a->status;
}

static CURL *curl_with_certificate(const char *name)
{
    char path[LAB_PATH + 32];
    CURL *curl = curl_easy_init();
    if (curl == NULL)
        abort();
    (void)snprintf(path, sizeof(path), "%s/server-ca.pem", lab_dir());
    (void)curl_easy_setopt(curl, CURLOPT_CAINFO, path);
    if (name == NULL)
        return curl;
    (void)snprintf(path, sizeof(path), "%s/%s.pem", lab_dir(), name);
    (void)curl_easy_setopt(curl, CURLOPT_SSLCERT, path);
    (void)snprintf(path, sizeof(path), "%s/%s.key", lab_dir(), name);
    (void)curl_easy_setopt(curl, CURLOPT_SSLKEY, path);
    return curl;
}

static long ask_once(struct honest *h, struct answer *a, const char *idem, const char *artifact)
{
    char url[128], header[160];
    if (h->tls != NULL) {
        (void)snprintf(url, sizeof(url), "https://localhost:%u" SIGN_PATH, tls_port);
        return curl_ask(h->tls, a, url, idem, artifact);
    }
    (void)snprintf(header, sizeof(header), "Idempotency-Key: %s", idem);
    return client_ask(&h->unix_client, a, header, artifact, strlen(artifact), "%s", SIGN_PATH);
}

/* Broken connections, "busy", "starting", "still running": the same request again, as the problem
 * documents say. Everything else has to be the signature. */
static bool may_repeat(long status)
{
    return status == 0 || status == 503 || status == 507 || status == 409;
}

static void ask_until_answered(struct honest *h, const char *idem, const char *artifact, bool old)
{
    int64_t begin = lab_now_ms();
    struct answer a = {0};
    for (;;) {
        long status = ask_once(h, &a, idem, artifact);
        if (!may_repeat(status) || lab_now_ms() - begin > ANSWER_MS_MAX)
            break;
        client_done(&a);
        atomic_fetch_add(&repeated, 1);
        lab_sleep_ms(50);
    }
    int64_t ms = lab_now_ms() - begin;
    if (h->count < sizeof(h->ms) / sizeof(h->ms[0]))
        h->ms[h->count++] = (uint32_t)ms;
    if (a.status != 201 && a.status != 200)
        say_wrong("honest %u, %s: %ld %.200s", h->number, idem, a.status,
                  a.body != NULL ? a.body : "");
    else if (old && a.status != 200)
        say_wrong("honest %u, %s: signed a second time", h->number, idem);
    else if (!evidence_take(&evidence, KEY, idem, artifact, &a))
        say_wrong("honest %u, %s: the answer contradicts itself", h->number, idem);
    client_done(&a);
}

static void *honest_main(void *arg)
{
    struct honest *h = arg;
    while (!atomic_load(&over)) {
        char idem[48], artifact[64];
        bool old = h->made > 0 && roll(&h->random, 4) == 0;
        unsigned which = old ? (unsigned)roll(&h->random, h->made) : h->made;
        (void)snprintf(idem, sizeof(idem), "h%u-%u", h->number, which);
        (void)snprintf(artifact, sizeof(artifact), "artifact %u of %u", which, h->number);
        ask_until_answered(h, idem, artifact, old);
        h->made += old ? 0 : 1;
        lab_sleep_ms(PAUSE_MS);
    }
    return NULL;
}

/* Attackers -------------------------------------------------------------------------------------
 */

static int connect_to(uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 1};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static bool push(int fd, const void *data, size_t len)
{
    return send(fd, data, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* Many connections that say a character now and then, or nothing. */
static void *slow_main(void *arg)
{
    const bool silent = arg != NULL;
    int fds[KEEP_MAX];
    memset(fds, -1, sizeof(fds));
    while (!atomic_load(&over)) {
        for (size_t i = 0; i < KEEP_MAX && !atomic_load(&over); i++) {
            bool fresh = fds[i] < 0;
            if (fresh)
                fds[i] = connect_to(tcp_port);
            char gone;
            bool closed = fds[i] >= 0 && recv(fds[i], &gone, 1, MSG_DONTWAIT) == 0;
            const char *text = fresh ? "GET /v1/keys HTTP/1.1\r\nHost: x\r\nX-A: " : "a";
            if (fds[i] >= 0 && (closed || (!silent && !push(fds[i], text, strlen(text))))) {
                (void)close(fds[i]);
                fds[i] = -1;
                atomic_fetch_add(&attacks, 1);
            }
        }
        lab_sleep_ms(100);
    }
    for (size_t i = 0; i < KEEP_MAX; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
    return NULL;
}

/* Headers without end, and uploads that break off in the middle or never go on. */
static void *half_main(void *arg)
{
    uint64_t random = 11;
    int held[8];
    static char block[65536];
    memset(held, -1, sizeof(held));
    memset(block, 'x', sizeof(block));
    for (size_t turn = 0; !atomic_load(&over); turn++) {
        int *fd = &held[turn % (sizeof(held) / sizeof(held[0]))];
        if (*fd >= 0)
            (void)close(*fd);
        *fd = connect_to(tcp_port);
        char head[256];
        (void)snprintf(head, sizeof(head),
                       "POST " SIGN_PATH " HTTP/1.1\r\nHost: x\r\nIdempotency-Key: half%zu\r\n"
                       "Content-Length: %u\r\n\r\n",
                       turn, 1U << (10 + roll(&random, 17)));
        if (*fd >= 0 && arg == NULL && push(*fd, head, strlen(head)))
            for (uint64_t i = roll(&random, 16); i > 0 && push(*fd, block, sizeof(block)); i--)
                ;
        if (*fd >= 0 && arg != NULL && push(*fd, "GET / HTTP/1.1\r\nX: ", 19))
            for (int i = 0; i < 16 && push(*fd, block, sizeof(block)); i++)
                ;
        atomic_fetch_add(&attacks, 1);
        lab_sleep_ms(30);
    }
    for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++)
        if (held[i] >= 0)
            (void)close(held[i]);
    return NULL;
}

/* Random bytes, right requests with a few bytes changed, and connections that go at once; the same
 * at the door of TLS, where also the start of a handshake is sent and never finished. */
static void *garbage_main(void *arg)
{
    static const char seed[] = "POST " SIGN_PATH " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
                               "Idempotency-Key: g\r\n\r\nabc";
    static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    uint64_t random = arg != NULL ? 5 : 3;
    while (!atomic_load(&over)) {
        int fd = connect_to(arg != NULL ? tls_port : tcp_port);
        char bytes[600];
        size_t len = sizeof(seed) - 1;
        memcpy(bytes, seed, len);
        for (uint64_t i = 1 + roll(&random, 5); i > 0; i--)
            bytes[roll(&random, len)] = (char)roll(&random, 256);
        if (roll(&random, 3) == 0)
            for (len = 0; len < sizeof(bytes); len++)
                bytes[len] = (char)roll(&random, 256);
        if (arg != NULL && roll(&random, 2) == 0)
            memcpy(bytes, hello, sizeof(hello) - 1);
        if (fd >= 0 && roll(&random, 4) != 0 && push(fd, bytes, len) && roll(&random, 8) == 0)
            (void)recv(fd, bytes, sizeof(bytes), 0);
        if (fd >= 0)
            (void)close(fd);
        atomic_fetch_add(&attacks, 1);
        lab_sleep_ms(5);
    }
    return NULL;
}

/* Certificates of somebody else's issuer, expired ones, none: no request may ever be heard. */
static void *certificate_main(void *arg)
{
    static const char *const names[] = {NULL, "stranger", "expired"};
    char url[96];
    (void)arg;
    (void)snprintf(url, sizeof(url), "https://localhost:%u" SIGN_PATH, tls_port);
    for (unsigned turn = 0; !atomic_load(&over); turn++) {
        CURL *curl = curl_with_certificate(names[turn % 3]);
        struct answer a;
        if (curl_ask(curl, &a, url, "stolen", "stolen") != 0)
            say_wrong("certificate %u was let in: %ld", turn % 3, a.status);
        client_done(&a);
        curl_easy_cleanup(curl);
        atomic_fetch_add(&attacks, 1);
        lab_sleep_ms(100);
    }
    return NULL;
}

/* Idempotency keys of honest clients over other bytes, and signatures until the share is used up.
 */
static void *greedy_main(void *arg)
{
    char url[96];
    CURL *curl = curl_easy_init();
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u" SIGN_PATH, tcp_port);
    for (unsigned turn = 0; curl != NULL && !atomic_load(&over); turn++) {
        char idem[48], artifact[64];
        struct answer a;
        bool replay = arg != NULL;
        if (replay) /* one that its owner has had answered by now, most likely */
            (void)snprintf(idem, sizeof(idem), "h%u-%u", turn % HONEST_UNIX,
                           turn / HONEST_UNIX % 8);
        else
            (void)snprintf(idem, sizeof(idem), "greedy%u", turn);
        (void)snprintf(artifact, sizeof(artifact), "evil %u", turn);
        long status = curl_ask(curl, &a, url, idem, artifact);
        if (!replay && (status == 201 || status == 200)) {
            atomic_fetch_add(&attackers_signed, 1);
            if (!evidence_take(&evidence, KEY, idem, artifact, &a))
                say_wrong("greedy %u: the answer contradicts itself", turn);
        } else if (status / 100 == 2) {
            say_wrong("a stolen idempotency key gave a signature over other bytes");
        }
        client_done(&a);
        atomic_fetch_add(&attacks, 1);
        lab_sleep_ms(replay ? 20 : 10);
    }
    curl_easy_cleanup(curl);
    return NULL;
}

/* Stolen keys must have been used by their owner first, or the attacker is only the first to come.
 */
static void sign_first_ones(void)
{
    for (unsigned i = 0; i < HONEST_UNIX; i++)
        for (; honest[i].made < 8; honest[i].made++) {
            char idem[48], artifact[64];
            (void)snprintf(idem, sizeof(idem), "h%u-%u", i, honest[i].made);
            (void)snprintf(artifact, sizeof(artifact), "artifact %u of %u", honest[i].made, i);
            ask_until_answered(&honest[i], idem, artifact, false);
        }
}

/* The service -----------------------------------------------------------------------------------
 */

static void make_certificates(void)
{
    const char *dir = lab_dir();
    certs_make(dir, "server-ca", NULL, &(struct cert_options){.issuer = true});
    certs_make(dir, "server", "server-ca", &(struct cert_options){.server = true});
    certs_make(dir, "client-ca", NULL, &(struct cert_options){.issuer = true});
    certs_make(dir, "good", "client-ca", &(struct cert_options){.dns = "ci.example.org"});
    certs_make(dir, "expired", "client-ca",
               &(struct cert_options){.dns = "ci.example.org", .from_s = -7200, .to_s = -3600});
    certs_make(dir, "other-ca", NULL, &(struct cert_options){.issuer = true});
    certs_make(dir, "stranger", "other-ca", &(struct cert_options){.dns = "ci.example.org"});
}

static void make_service(void)
{
    static char http[400], tls[500], identities[600], plan[400];
    tcp_port = lab_free_port();
    tls_port = lab_free_port();
    (void)snprintf(http, sizeof(http),
                   "'tcp_address':'127.0.0.1','tcp_port':%u,'header_deadline_s':3,"
                   "'body_deadline_s':60,'connections_max':150,'peer_connections':145,"
                   "'peer_requests':64,'memory_max':33554432,'spool_max':1073741824,"
                   "'body_max':134217728",
                   tcp_port);
    const char *dir = lab_dir();
    (void)snprintf(tls, sizeof(tls),
                   "'address':'127.0.0.1','port':%u,'certificate_file':'%s/server.pem',"
                   "'key_file':'%s/server.key','trust_file':'%s/client-ca.pem'",
                   tls_port, dir, dir, dir);
    (void)snprintf(identities, sizeof(identities),
                   "'honest':{'match':[{'uid':%u}],'roles':['signer','auditor','operator']},"
                   "'honest-tls':{'match':[{'dns':'ci.example.org'}],'roles':['signer']},"
                   "'attacker':{'match':[{'tcp':'loopback'}],'roles':['signer','auditor'],"
                   "'keys':{'*':{'window_share':%d}}}",
                   (unsigned)geteuid(), calm ? 100 : 1);
    (void)snprintf(plan, sizeof(plan),
                   "{'tidemark_plan':1,'key':'" KEY "','profile':'sp800-208','scheme':'lms',"
                   "'parameters':['LMS_SHA256_M24_H%u','LMOTS_SHA256_N24_W4'],'assignment':"
                   "{'kind':'interval','signatures_per_window':%u,'lease_size':32}}",
                   leaves_log2, 1U << (leaves_log2 - 1));
    const struct service_options options = {.http = http, .tls = tls, .identities = identities};
    make_certificates();
    clocks_start(&clocks, "attack", false);
    service_make(&service, "attack", &clocks, &options);
    service_key(&service, plan);
    service_start(&service);
}

/* Memory ----------------------------------------------------------------------------------------
 */

struct memory {
    pid_t pid;
    uint64_t peak, early, late; /* KiB: of all, and of the first and the last third */
};

static uint64_t resident_kib(pid_t pid)
{
    char path[64], line[128];
    uint64_t kib = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            kib = strtoull(line + 6, NULL, 10);
    if (file != NULL)
        (void)fclose(file);
    return kib;
}

static void sample(struct memory *m, int64_t at_ms, int64_t whole_ms)
{
    uint64_t now = resident_kib(m->pid);
    m->peak = now > m->peak ? now : m->peak;
    if (at_ms < whole_ms / 3)
        m->early = now > m->early ? now : m->early;
    if (at_ms > whole_ms / 3 * 2)
        m->late = now > m->late ? now : m->late;
}

static bool flat(const struct memory *m)
{
    return m->late <= m->early + m->early / 10 + FLAT_KIB;
}

/* The run ---------------------------------------------------------------------------------------
 */

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static size_t percentiles(uint32_t *p50, uint32_t *p99)
{
    static uint32_t all[SAMPLES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < HONEST; i++) {
        memcpy(all + count, honest[i].ms, honest[i].count * sizeof(all[0]));
        count += honest[i].count;
    }
    qsort(all, count, sizeof(all[0]), by_size);
    *p50 = count > 0 ? all[count / 2] : 0;
    *p99 = count > 0 ? all[count * 99 / 100] : 0;
    return count;
}

static unsigned reuses(void)
{
    struct audit audit;
    uint8_t public_key[PUBLIC_MAX];
    size_t len = service_public(&service, KEY, public_key);
    unsigned faults = evidence_check(&evidence, KEY, public_key, len);
    service_stop(&service);
    struct ledger *ledger = service_ledger(&service);
    faults += audit_ledger(&audit, ledger, KEY);
    faults += audit_evidence(&audit, &evidence, KEY);
    audit_free(&audit);
    ledger_close(&ledger);
    return faults;
}

#define ATTACKERS 9

static void start_attackers(pthread_t threads[ATTACKERS])
{
    static void *(*const mains[ATTACKERS])(void *) = {slow_main,   slow_main,    half_main,
                                                      half_main,   garbage_main, garbage_main,
                                                      greedy_main, greedy_main,  certificate_main};
    for (size_t i = 0; i < ATTACKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, mains[i], i % 2 == 1 ? &over : NULL), 0);
}

static void attack(void **state)
{
    (void)state;
    pthread_t attackers[ATTACKERS];
    make_service();
    for (unsigned i = 0; i < HONEST; i++) {
        honest[i].number = i;
        honest[i].random = i + 1;
        if (i < HONEST_UNIX)
            client_open(&honest[i].unix_client, &service);
        else
            honest[i].tls = curl_with_certificate("good");
    }
    sign_first_ones();
    struct memory front = {.pid = service_child(&service, "front", 0)};
    struct memory core = {.pid = service_child(&service, "core", 0)};
    if (!calm)
        start_attackers(attackers);
    else
        (void)fprintf(stderr, "calm: http://127.0.0.1:%u, e.g. for wrk\n", tcp_port);
    for (unsigned i = 0; i < HONEST; i++)
        assert_int_equal(pthread_create(&honest[i].thread, NULL, honest_main, &honest[i]), 0);
    int64_t begin = lab_now_ms(), whole = (int64_t)seconds * 1000;
    for (int64_t at = 0; at < whole; at = lab_now_ms() - begin) {
        sample(&front, at, whole);
        sample(&core, at, whole);
        lab_sleep_ms(200);
    }
    atomic_store(&over, true);
    for (unsigned i = 0; i < HONEST; i++)
        assert_int_equal(pthread_join(honest[i].thread, NULL), 0);
    for (size_t i = 0; !calm && i < ATTACKERS; i++)
        assert_int_equal(pthread_join(attackers[i], NULL), 0);
    bool alive = service_child(&service, "front", 0) == front.pid;
    unsigned reused = reuses();
    uint32_t p50 = 0, p99 = 0;
    size_t answered = percentiles(&p50, &p99);
    bool is_flat = flat(&front) && flat(&core);
    (void)snprintf(summary, sizeof(summary),
                   "load-attack: %u s, honest requests %zu (sent again %u), wrong answers %u, "
                   "reuses %u, p50 %u ms, p99 %u ms, attacks %u (signed %u), peak memory front "
                   "%" PRIu64 " KiB, core %" PRIu64 " KiB, memory flat %s",
                   seconds, answered, atomic_load(&repeated), atomic_load(&wrong), reused, p50, p99,
                   atomic_load(&attacks), atomic_load(&attackers_signed), front.peak, core.peak,
                   seconds < FLAT_FROM_S ? "not measured"
                   : is_flat             ? "yes"
                                         : "no");
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(reused, 0);
    assert_true(alive);
    assert_true(answered > 0);
    assert_true(seconds < FLAT_FROM_S || is_flat);
}

static int clean_up(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HONEST; i++) {
        client_close(&honest[i].unix_client);
        curl_easy_cleanup(honest[i].tls);
    }
    evidence_free(&evidence);
    service_end(&service);
    clocks_stop(&clocks);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t number = 0;
    if (argc > 1 && text_to_u64(&number, argv[1], 86400) && number > 0)
        seconds = (unsigned)number;
    if (argc > 2 && text_to_u64(&number, argv[2], 20) && number >= 10)
        leaves_log2 = (unsigned)number;
    calm = argc > 3 && strcmp(argv[3], "calm") == 0;
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(attack, clean_up)};
    int unable = lab_open();
    if (unable != 0)
        return unable;
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)printf("%s\n", summary);
    return failed != 0;
}
