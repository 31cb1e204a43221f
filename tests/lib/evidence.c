#include "lib/evidence.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "hbs/verify.h"
#include "verify/verify.h"

#define CLOCK_WAIT_MS 120000 /* chronyd on a busy machine, behind a step */
#define SIGNATURE_MAX ((size_t)64 * 1024)
#define INDEX_MAX (UINT64_C(1) << 25)
#define FAULTS_SHOWN 20

/* Says what is wrong; the first few in full. */
static unsigned fault(unsigned *shown, const char *format, ...) PRINTF_LIKE(2, 3);
static unsigned fault(unsigned *shown, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if ((*shown)++ < FAULTS_SHOWN) {
        (void)fprintf(stderr, "FAULT: ");
        (void)vfprintf(stderr, format, args);
        (void)fprintf(stderr, "\n");
    }
    va_end(args);
    return 1;
}

/* What clients received --------------------------------------------------------------------------
 */

static bool refuse(const struct answer *a, const char *why)
{
    (void)fprintf(stderr, "not an answer to keep (%s): %ld %s\n", why, a->status,
                  a->body != NULL ? a->body : "");
    return false;
}

static bool keep(struct evidence *e, struct shown *shown)
{
    (void)pthread_mutex_lock(&e->lock);
    if (e->count == e->cap) {
        e->cap = e->cap == 0 ? 1024 : e->cap * 2;
        e->list = realloc(e->list, e->cap * sizeof(*e->list));
        MUST(e->list != NULL);
    }
    e->list[e->count++] = *shown;
    (void)pthread_mutex_unlock(&e->lock);
    return true;
}

bool evidence_take(struct evidence *e, const char *key, const char *request, const char *artifact,
                   const struct answer *a)
{
    struct shown shown = {.index = (uint64_t)answer_number(a, "index"),
                          .window = (uint64_t)answer_number(a, "window")};
    const char *base64 = answer_text(a, "signature");
    if (a->status != 200 && a->status != 201)
        return refuse(a, "status");
    if (answer_number(a, "index") < 0 || base64[0] == '\0' ||
        strcmp(answer_text(a, "key"), key) != 0)
        return refuse(a, "members");
    bool replayed = a->head != NULL && strcasestr(a->head, "\r\ntidemark-replayed: true") != NULL;
    if (replayed != (a->status == 200))
        return refuse(a, "Tidemark-Replayed");
    MUST(strlen(key) < sizeof(shown.key) && strlen(request) < sizeof(shown.request) &&
         strlen(artifact) < sizeof(shown.artifact));
    strcpy(shown.key, key);
    strcpy(shown.request, request);
    strcpy(shown.artifact, artifact);
    shown.replayed = replayed;
    shown.signature = malloc(SIGNATURE_MAX);
    MUST(shown.signature != NULL);
    if (!base64_decode(shown.signature, SIGNATURE_MAX, &shown.signature_len, base64,
                       strlen(base64))) {
        free(shown.signature);
        return refuse(a, "base64");
    }
    shown.signature = realloc(shown.signature, shown.signature_len);
    return keep(e, &shown);
}

void evidence_copy(struct evidence *to, const struct evidence *from)
{
    for (size_t i = 0; i < from->count; i++) {
        struct shown shown = from->list[i];
        shown.signature = malloc(shown.signature_len);
        MUST(shown.signature != NULL);
        memcpy(shown.signature, from->list[i].signature, shown.signature_len);
        MUST(keep(to, &shown));
    }
}

void evidence_free(struct evidence *e)
{
    for (size_t i = 0; i < e->count; i++)
        free(e->list[i].signature);
    free(e->list);
    e->list = NULL;
    e->count = e->cap = 0;
}

static bool same_bytes(const struct shown *a, const struct shown *b)
{
    return a->signature_len == b->signature_len &&
           memcmp(a->signature, b->signature, a->signature_len) == 0;
}

/* The same by the library for devices, which shares no code with ours. */
static unsigned check_independent(unsigned *said, const struct shown *s, const struct tmv_key *key)
{
    struct tmv_found found;
    enum tmv_result result =
        tmv_verify(key, s->artifact, strlen(s->artifact), s->signature, s->signature_len, &found);
    if (result != TMV_OK || found.index != s->index)
        return fault(said, "%s %s: libtidemark-verify says: %s, index %" PRIu64, s->key, s->request,
                     tmv_result_text(result), found.index);
    return 0;
}

static unsigned check_one(unsigned *said, const struct shown *s, const struct hss_public *public,
                          const struct tmv_key *independent)
{
    struct err err = {0};
    struct hss_signature parsed;
    if (hss_verify(public, s->artifact, strlen(s->artifact), s->signature, s->signature_len,
                   &err) != RC_OK)
        return fault(said, "%s %s: the signature does not verify: %s", s->key, s->request,
                     err_text(&err));
    if (hss_signature_parse(&parsed, public, s->signature, s->signature_len, &err) != RC_OK ||
        parsed.index != s->index)
        return fault(said, "%s %s: the answer says index %" PRIu64 ", the signature %" PRIu64,
                     s->key, s->request, s->index, parsed.index);
    return check_independent(said, s, independent);
}

static int by_index(const void *a, const void *b)
{
    const struct shown *const *x = a;
    const struct shown *const *y = b;
    return (*x)->index < (*y)->index ? -1 : (*x)->index > (*y)->index;
}

static int by_request(const void *a, const void *b)
{
    const struct shown *const *x = a;
    const struct shown *const *y = b;
    return strcmp((*x)->request, (*y)->request);
}

/* Neighbours with the same index, or with the same request, must be the same in all. */
static unsigned check_neighbours(unsigned *said, const struct shown *a, const struct shown *b)
{
    unsigned faults = 0;
    if (a->index == b->index && strcmp(a->artifact, b->artifact) != 0)
        faults += fault(said, "%s: index %" PRIu64 " signed '%s' and '%s'", a->key, a->index,
                        a->artifact, b->artifact);
    else if (a->index == b->index && !same_bytes(a, b))
        faults += fault(said, "%s: index %" PRIu64 " has two signatures over '%s'", a->key,
                        a->index, a->artifact);
    if (strcmp(a->request, b->request) == 0 && strcmp(a->artifact, b->artifact) == 0 &&
        !same_bytes(a, b))
        faults += fault(said, "%s: request %s got two signatures, %" PRIu64 " and %" PRIu64, a->key,
                        a->request, a->index, b->index);
    return faults;
}

unsigned evidence_check(const struct evidence *e, const char *key, const uint8_t *public_key,
                        size_t public_key_len)
{
    unsigned faults = 0;
    unsigned said = 0;
    struct err err = {0};
    struct hss_public public = {0};
    if (hss_public_parse(&public, public_key, public_key_len, &err) != RC_OK)
        return fault(&said, "%s: public key: %s", key, err_text(&err));
    struct tmv_key independent;
    if (tmv_key_read(&independent, TMV_HSS, public_key, public_key_len) != TMV_OK)
        return fault(&said, "%s: public key: libtidemark-verify does not take it", key);
    const struct shown **list = calloc(e->count + 1, sizeof(*list));
    MUST(list != NULL);
    size_t count = 0;
    for (size_t i = 0; i < e->count; i++) {
        if (strcmp(e->list[i].key, key) != 0)
            continue;
        faults += check_one(&said, &e->list[i], &public, &independent);
        list[count++] = &e->list[i];
    }
    qsort(list, count, sizeof(*list), by_index);
    for (size_t i = 1; i < count; i++)
        faults += check_neighbours(&said, list[i - 1], list[i]);
    qsort(list, count, sizeof(*list), by_request);
    for (size_t i = 1; i < count; i++)
        faults += check_neighbours(&said, list[i - 1], list[i]);
    free(list);
    return faults;
}

/* What the ledger holds --------------------------------------------------------------------------
 */

struct walk {
    struct audit *audit;
    unsigned faults, said;
    char prev[HEX_SIZE(SHA256_LEN)];
    uint64_t first_epoch, last_epoch;
    bool recovered; /* epochs may jump now */
    json_t *entry;
    uint32_t *lease_left; /* by lease number: indices without receipt */
};

static uint64_t number(const struct walk *w, const char *name)
{
    const json_t *value = json_object_get(w->entry, name);
    return json_is_integer(value) ? (uint64_t)json_integer_value(value) : UINT64_MAX;
}

static const char *text(const struct walk *w, const char *name)
{
    const char *value = json_string_value(json_object_get(w->entry, name));
    return value != NULL ? value : "";
}

static struct index_facts *at_index(struct walk *w, uint64_t index)
{
    struct audit *a = w->audit;
    MUST(index < INDEX_MAX);
    while (index >= a->size) {
        size_t size = a->size == 0 ? 1024 : a->size * 2;
        a->at = realloc(a->at, size * sizeof(*a->at));
        MUST(a->at != NULL);
        memset(a->at + a->size, 0, (size - a->size) * sizeof(*a->at));
        a->size = size;
    }
    return &a->at[index];
}

static void take_epoch(struct walk *w, uint64_t epoch, bool own)
{
    bool next = epoch == w->last_epoch + 1;
    bool same = epoch == w->last_epoch && !own;
    if (!next && !same && !(w->recovered && epoch > w->last_epoch))
        w->faults += fault(&w->said, "epoch %" PRIu64 " behind %" PRIu64, epoch, w->last_epoch);
    w->last_epoch = epoch;
    w->recovered = false;
    w->audit->epochs = epoch - w->first_epoch;
}

static void on_device(struct walk *w)
{
    const json_t *first = json_object_get(json_object_get(w->entry, "pins"), "l_first");
    MUST(json_is_integer(first));
    w->first_epoch = w->last_epoch = (uint64_t)json_integer_value(first);
}

static void on_window(struct walk *w)
{
    int64_t window = (int64_t)number(w, "window");
    if (window <= w->audit->window)
        w->faults +=
            fault(&w->said, "window %" PRId64 " opened behind %" PRId64, window, w->audit->window);
    w->audit->window = window;
    w->audit->windows++;
}

static void on_lease(struct walk *w)
{
    struct audit *a = w->audit;
    uint64_t first = number(w, "first");
    uint64_t count = number(w, "count");
    uint64_t epoch = number(w, "epoch");
    take_epoch(w, epoch, true);
    a->leases++;
    a->leased += count;
    w->lease_left = realloc(w->lease_left, (a->leases + 1) * sizeof(*w->lease_left));
    MUST(w->lease_left != NULL);
    w->lease_left[a->leases] = (uint32_t)count;
    for (uint64_t i = first; i < first + count; i++) {
        struct index_facts *f = at_index(w, i);
        if (f->lease != 0 || f->bound || f->burned)
            w->faults += fault(&w->said, "index %" PRIu64 " leased again", i);
        f->lease = (uint32_t)a->leases;
        f->epoch = epoch;
    }
}

static void on_intent(struct walk *w)
{
    struct index_facts *f = at_index(w, number(w, "index"));
    take_epoch(w, number(w, "epoch"), false);
    w->audit->intents++;
    if (f->bound || f->lease != 0 || f->signed_ || f->burned)
        w->faults += fault(&w->said, "index %" PRIu64 " bound again", number(w, "index"));
    f->bound = true;
    f->epoch = number(w, "epoch");
    (void)snprintf(f->version, sizeof(f->version), "%s", text(w, "version"));
    (void)snprintf(f->slot, sizeof(f->slot), "%s", text(w, "slot"));
    (void)snprintf(f->artifact_sha256, sizeof(f->artifact_sha256), "%s",
                   text(w, "artifact_sha256"));
}

static void on_receipt(struct walk *w)
{
    struct index_facts *f = at_index(w, number(w, "index"));
    w->audit->receipts++;
    if (f->signed_ || f->burned)
        w->faults += fault(&w->said, "index %" PRIu64 " has a second receipt, or was burned",
                           number(w, "index"));
    if (f->epoch != number(w, "epoch") || (f->lease == 0 && !f->bound))
        w->faults +=
            fault(&w->said, "index %" PRIu64 ": receipt without reservation", number(w, "index"));
    if (f->bound &&
        (strcmp(f->artifact_sha256, text(w, "artifact_sha256")) != 0 ||
         strcmp(f->version, text(w, "version")) != 0 || strcmp(f->slot, text(w, "slot")) != 0))
        w->faults += fault(&w->said, "index %" PRIu64 ": receipt of something else than was bound",
                           number(w, "index"));
    f->signed_ = true;
    if (f->lease != 0)
        w->lease_left[f->lease]--;
    (void)snprintf(f->artifact_sha256, sizeof(f->artifact_sha256), "%s",
                   text(w, "artifact_sha256"));
    (void)snprintf(f->signature_sha256, sizeof(f->signature_sha256), "%s",
                   text(w, "signature_sha256"));
}

static void on_void(struct walk *w)
{
    struct index_facts *f = at_index(w, number(w, "index"));
    w->audit->voids++;
    if (!f->bound || f->signed_)
        w->faults += fault(&w->said, "index %" PRIu64 " voided without need", number(w, "index"));
    *f = (struct index_facts){.bound = false};
}

static void on_burn(struct walk *w)
{
    for (uint64_t i = 0; i < number(w, "count"); i++) {
        struct index_facts *f = at_index(w, number(w, "first") + i);
        if (f->signed_)
            w->faults += fault(&w->said, "index %" PRIu64 " burned behind its receipt",
                               number(w, "first") + i);
        f->burned = true;
        w->audit->burns++;
    }
}

static void on_recover(struct walk *w)
{
    w->recovered = true;
    w->audit->recoveries++;
}

static void ignore(struct walk *w)
{
    (void)w;
}

static const struct {
    const char *kind;
    void (*take)(struct walk *w);
} kinds[] = {
    {"device-provisioned", on_device},
    {"window-opened", on_window},
    {"lease", on_lease},
    {"intent", on_intent},
    {"receipt", on_receipt},
    {"void", on_void},
    {"burn", on_burn},
    {"operation-recover", on_recover},
    {"key-created", ignore},
    {"incident", ignore},
    {"refusal", ignore},
    {"operation-advance-window", ignore},
    {"operation-backup-export", ignore},
    {"operation-recover-from-backup", ignore},
    {"acknowledgement", ignore},
    {"attestation-key", ignore},
    {"attestation", ignore},
};

/* The hash that the next entry of the key must name. */
static void follow_chain(struct walk *w, const char *json)
{
    static const uint8_t leaf = 0x00;
    uint8_t hash[SHA256_LEN];
    if (strcmp(text(w, "prev"), w->prev) != 0)
        w->faults += fault(&w->said, "entry %" PRIu64 " does not follow the one before it",
                           number(w, "seq"));
    sha256_2(hash, &leaf, 1, json, strlen(json));
    hex_encode(w->prev, hash, sizeof(hash));
}

static void take_entry(struct walk *w, const char *json)
{
    follow_chain(w, json);
    w->audit->entries++;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].kind, text(w, "kind")) == 0) {
            kinds[i].take(w);
            return;
        }
    }
    w->faults += fault(&w->said, "entry of kind %s", text(w, "kind"));
}

unsigned audit_ledger(struct audit *audit, struct ledger *ledger, const char *key)
{
    struct walk w = {.audit = audit};
    *audit = (struct audit){.window = -1};
    memset(w.prev, '0', sizeof(w.prev) - 1);
    for (uint64_t seq = 1; seq <= ledger_size(ledger); seq++) {
        struct err err = {0};
        char *json = NULL;
        if (ledger_entry_json(ledger, seq, &json, &err) != RC_OK)
            return fault(&w.said, "entry %" PRIu64 ": %s", seq, err_text(&err));
        w.entry = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
        if (w.entry == NULL || number(&w, "seq") != seq)
            w.faults += fault(&w.said, "entry %" PRIu64 " is not itself: %s", seq, json);
        else if (strcmp(text(&w, "key"), key) == 0)
            take_entry(&w, json);
        json_decref(w.entry);
        free(json);
    }
    for (uint64_t i = 1; i <= audit->leases; i++)
        audit->leases_cut_short += w.lease_left[i] > 0 ? 1 : 0;
    free(w.lease_left);
    return w.faults;
}

void audit_free(struct audit *audit)
{
    free(audit->at);
    *audit = (struct audit){0};
}

static void sha256_hex(char out[HEX_SIZE(SHA256_LEN)], const void *data, size_t len)
{
    uint8_t hash[SHA256_LEN];
    sha256_2(hash, data, len, "", 0);
    hex_encode(out, hash, sizeof(hash));
}

unsigned audit_evidence(const struct audit *audit, const struct evidence *e, const char *key)
{
    unsigned faults = 0;
    unsigned said = 0;
    for (size_t i = 0; i < e->count; i++) {
        const struct shown *s = &e->list[i];
        char artifact[HEX_SIZE(SHA256_LEN)];
        char signature[HEX_SIZE(SHA256_LEN)];
        if (strcmp(s->key, key) != 0)
            continue;
        sha256_hex(artifact, s->artifact, strlen(s->artifact));
        sha256_hex(signature, s->signature, s->signature_len);
        const struct index_facts *f = s->index < audit->size ? &audit->at[s->index] : NULL;
        if (f == NULL || !f->signed_ || strcmp(f->artifact_sha256, artifact) != 0 ||
            strcmp(f->signature_sha256, signature) != 0)
            faults += fault(&said, "%s %s: index %" PRIu64 " was released without its receipt",
                            s->key, s->request, s->index);
    }
    return faults;
}

/* Signing ----------------------------------------------------------------------------------------
 */

long sign_version(const struct service *s, struct answer *a, const char *key, const char *version,
                  const char *slot, const char *artifact)
{
    struct client c;
    client_open(&c, s);
    long status =
        client_ask(&c, a, NULL, artifact, strlen(artifact), "/v1/keys/%s/signatures?version=%s%s%s",
                   key, version, slot[0] != '\0' ? "&slot=" : "", slot);
    client_close(&c);
    return status;
}

long sign_window(const struct service *s, struct answer *a, const char *key,
                 const char *idempotency_key, const char *artifact)
{
    struct client c;
    char header[EVIDENCE_TEXT + 32];
    (void)snprintf(header, sizeof(header), "Idempotency-Key: \"%s\"", idempotency_key);
    client_open(&c, s);
    long status = client_ask(&c, a, header, artifact, strlen(artifact),
                             "/v1/keys/%s/signatures?window=current", key);
    client_close(&c);
    return status;
}

static uint64_t must_be_new(struct evidence *e, const char *key, const char *request,
                            const char *artifact, struct answer *a)
{
    if (a->status != 201)
        fail_msg("%s %s: %ld %s", key, request, a->status, a->body != NULL ? a->body : "");
    assert_true(evidence_take(e, key, request, artifact, a));
    uint64_t index = (uint64_t)answer_number(a, "index");
    client_done(a);
    return index;
}

uint64_t must_sign_version(const struct service *s, struct evidence *e, const char *key,
                           const char *version, const char *slot, const char *artifact)
{
    struct answer a;
    char request[EVIDENCE_TEXT];
    (void)snprintf(request, sizeof(request), "%s %s", version, slot);
    (void)sign_version(s, &a, key, version, slot, artifact);
    return must_be_new(e, key, request, artifact, &a);
}

uint64_t must_sign_window(const struct service *s, struct evidence *e, const char *key,
                          const char *idempotency_key, const char *artifact)
{
    struct answer a;
    (void)sign_window(s, &a, key, idempotency_key, artifact);
    return must_be_new(e, key, idempotency_key, artifact, &a);
}

uint64_t wait_sign_window(const struct service *s, struct answer *a, const char *key,
                          const char *idempotency_key, const char *artifact, long status)
{
    uint64_t burned = 0;
    for (int64_t until = lab_now_ms() + CLOCK_WAIT_MS;; lab_sleep_ms(100)) {
        if (sign_window(s, a, key, idempotency_key, artifact) == status)
            return burned;
        if (lab_now_ms() < until) {
            if (a->status == 500 && strcmp(answer_text(a, "type"), "/problems/index-burned") == 0)
                burned++;
            client_done(a);
            continue;
        }
        service_show_log(s);
        (void)lab_shell("ls -l '%s'; tail '%s'/client.log", s->clocks->dir, s->clocks->dir);
        fail_msg("wanted %ld, got %ld %s", status, a->status, a->body != NULL ? a->body : "");
    }
}
