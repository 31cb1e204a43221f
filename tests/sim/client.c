#include "sim/client.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/digest.h"
#include "sim/checks.h"
#include "sim/files.h"
#include "sim/remote.h"

#define BATCH 20

static struct reply last_reply;
static bool quiet; /* the end of the run: no reply is lost */

/* Wishes --------------------------------------------------------------------------------------- */

static struct oracle_key *key_of(const struct wish *w)
{
    return &sim->oracle.keys[w->key];
}

/* A version near where releases stand; now and then an old one, or one far ahead. */
static void choose_version(struct wish *w)
{
    const struct plan *plan = &key_of(w)->plan;
    uint64_t *cursor = &sim->version_cursor[w->key];
    uint64_t index = *cursor;
    if (chance_percent(&sim->chance, 10))
        index = chance_below(&sim->chance, ORACLE_INDICES);
    else if (chance_percent(&sim->chance, 85))
        index = *cursor += chance_percent(&sim->chance, 15) ? 4 : 1;
    struct err err = {0};
    char slot[NAME_LEN_MAX + 1] = "";
    char version[VERSION_LEN_MAX + 1] = "";
    for (unsigned i = 0; i < 8; i++) {
        if (plan_version_of_index(plan, index % ORACLE_INDICES, version, slot, &err) == RC_OK)
            break;
        index++;
    }
    (void)snprintf(w->what, sizeof(w->what), "%.23s", version);
    (void)snprintf(w->slot, sizeof(w->slot), "%.7s", slot);
}

static struct wish *wish_make(unsigned key)
{
    struct wish *w = &sim->wishes[sim->next_wish];
    sim->next_wish = (sim->next_wish + 1) % WISHES_MAX;
    if (sim->wish_count < WISHES_MAX)
        sim->wish_count++;
    *w = (struct wish){.key = (uint8_t)key, .artifact = (uint16_t)++sim->numbers};
    w->by_version = key_of(w)->plan.kind == PLAN_VERSION;
    w->remote = key_of(w)->plan.remote.allowed && chance_percent(&sim->chance, 70);
    if (w->by_version)
        choose_version(w);
    else
        (void)snprintf(w->what, sizeof(w->what), "order-%" PRIu32, sim->numbers);
    return w;
}

static struct wish *wish_again(void)
{
    uint64_t back = 1 + chance_below(&sim->chance, sim->wish_count < 12 ? sim->wish_count : 12);
    return &sim->wishes[(sim->next_wish + WISHES_MAX - back) % WISHES_MAX];
}

/* Somebody takes the same key or version for something else. */
static struct wish *wish_wrong(const struct wish *as)
{
    struct wish old = *as;
    struct wish *w = wish_make(old.key);
    memcpy(w->what, old.what, sizeof(w->what));
    memcpy(w->slot, old.slot, sizeof(w->slot));
    return w;
}

static void put_message(struct message message)
{
    if (sim->message_count == MESSAGES_MAX)
        sim->messages[chance_below(&sim->chance, MESSAGES_MAX)] =
            sim->messages[--sim->message_count]; /* the oldest patience ends somewhere */
    sim->messages[sim->message_count++] = message;
}

static struct wish *some_wish(void)
{
    uint64_t dice = chance_below(&sim->chance, 100);
    if (sim->wish_count == 0 || dice < 32)
        return wish_make((unsigned)chance_below(&sim->chance, sim->oracle.key_count));
    return dice < 94 ? wish_again() : wish_wrong(wish_again());
}

void client_send(struct machine *to)
{
    struct message message = {0};
    if (sim->oracle.key_count == 0)
        return;
    if (!sim->remote || !remote_comes_back(&message)) {
        const struct wish *w = some_wish();
        message = (struct message){.wish = (uint16_t)(w - sim->wishes),
                                   .kind = remote_wanted(w) ? MESSAGE_RESERVE : MESSAGE_SIGN};
    }
    message.machine = (uint8_t)to->number;
    if (chance_percent(&sim->chance, 3)) {
        sim->counts.lost_requests++;
        return;
    }
    put_message(message);
    if (chance_percent(&sim->chance, 4)) {
        sim->counts.duplicates++;
        put_message(message);
    }
}

/* Requests ------------------------------------------------------------------------------------- */

#define VISIT_SHIFT 32 /* of a request's number: the wish below, the visit above */

static struct visit visits[BATCH];

static void write_item(struct item *item, const struct wish *w, size_t nth)
{
    struct request *r = &item->request;
    char text[40];
    size_t len = artifact_text(w->artifact, text);
    memset(r, 0, sizeof(*r));
    r->magic = REQUEST_MAGIC;
    r->op = REQUEST_SIGN;
    r->generation = 1;
    r->number = (uint64_t)(w - sim->wishes) | (uint64_t)nth << VISIT_SHIFT;
    r->by = w->by_version ? REQUEST_BY_VERSION : REQUEST_BY_WINDOW;
    r->body = REQUEST_BODY_DIGEST;
    strcpy(r->key, key_of(w)->plan.key);
    if (w->by_version) {
        strcpy(r->version, w->what);
        strcpy(r->slot, w->slot);
    } else {
        strcpy(r->idempotency_key, w->what);
    }
    (void)snprintf(r->request_id, sizeof(r->request_id), "req-%u-%u", w->artifact, w->tries);
    strcpy(r->requester, "client");
    if (key_of(w)->plan.message == PLAN_RAW)
        r->body = REQUEST_BODY_BYTES;
    r->body_len = r->body == REQUEST_BODY_BYTES ? len : 0;
    r->digest_kind = DIGEST_SHA256;
    if (r->body == REQUEST_BODY_DIGEST)
        digest_buffer(DIGEST_SHA256, r->digest, text, len);
    if (visits[nth].kind == MESSAGE_RESERVE)
        remote_reserve(r, text, len);
}

static void write_commit(struct item *item, size_t nth)
{
    struct request *r = &item->request;
    const struct hold *h = &visits[nth].hold;
    *r = (struct request){
        .magic = REQUEST_MAGIC, .generation = 1, .number = h->wish | (uint64_t)nth << VISIT_SHIFT};
    strcpy(r->key, sim->oracle.keys[h->key].plan.key);
    (void)snprintf(r->request_id, sizeof(r->request_id), "hash-%u", h->artifact);
    strcpy(r->requester, "client");
    remote_commit(r, &visits[nth]);
}

/* The intake's part: look at the message, hash the artifact. */
static void prepare(struct item *item, const struct message *message, size_t nth, uint8_t text[40])
{
    struct wish *w = &sim->wishes[message->wish];
    visits[nth] = (struct visit){.kind = (enum message_kind)message->kind, .at = message->hold};
    item->fd = -1;
    item->rc = RC_OK;
    item->err = (struct err){0};
    memset(&item->job, 0, sizeof(item->job));
    item->job.artifact.fd = -1;
    if (message->kind == MESSAGE_COMMIT || message->kind == MESSAGE_COMMIT_OTHER) {
        visits[nth].hold = sim->holds[message->hold];
        write_commit(item, nth);
        item->rc = request_check(&item->request, 1, false, 0, &item->err);
        return;
    }
    write_item(item, w, nth);
    w->tries++;
    if (message->kind == MESSAGE_RESERVE) {
        item->rc = request_check(&item->request, 1, false, 0, &item->err);
        return;
    }
    size_t len = artifact_text(w->artifact, (char *)text);
    /* Some behind a handle, some behind their request. */
    bool bytes = item->request.body == REQUEST_BODY_BYTES;
    bool behind = bytes && w->artifact % 2 == 1;
    if (bytes && !behind)
        item->fd = files_artifact(text, len);
    item->rc = request_check(&item->request, 1, item->fd >= 0, behind ? len : 0, &item->err);
    enum plan_message mode = key_of(w)->plan.message;
    if (item->rc == RC_OK)
        item->rc =
            behind
                ? artifact_open_bytes(&item->job.artifact, &item->request, text, mode, &item->err)
                : artifact_open(&item->job.artifact, &item->request, item->fd, mode, &item->err);
}

/* Answers -------------------------------------------------------------------------------------- */

/* What was answered once is answered alike, as long as that device's history is one and the plan
 * says that it is remembered. */
static bool remembered(const struct machine *m, const struct wish *w)
{
    const struct oracle_key *key = key_of(w);
    if (!w->answered || w->machine != m->number || w->lineage != m->lineage)
        return false;
    const struct sim_nv *nv = sim_tpm_nv(m->port.chip, key->on[m->number].w_handle);
    int64_t floor = nv != NULL ? (int64_t)nv->w - key->on[m->number].w_base : 0;
    /* Idempotency keys are kept one window longer than their own. */
    return w->by_version || (int64_t)w->window >= floor - 1;
}

static void check_same(struct machine *m, const struct wish *w, uint64_t index,
                       const uint8_t hash[SHA256_LEN])
{
    const struct oracle_key *key = key_of(w);
    if (!remembered(m, w))
        return;
    if (index != w->index || memcmp(hash, w->signature_sha256, SHA256_LEN) != 0)
        oracle_break(&sim->oracle, "Replay",
                     "%s: '%s' of %s was answered with index %" PRIu64 " and now with %" PRIu64,
                     m->name, w->what, key->plan.key, w->index, index);
}

static void received(const struct machine *m, struct wish *w, uint64_t index,
                     const uint8_t hash[SHA256_LEN])
{
    w->answered = true;
    w->machine = (uint8_t)m->number;
    w->lineage = m->lineage;
    w->index = index;
    w->window = index / key_of(w)->plan.window_size;
    memcpy(w->signature_sha256, hash, SHA256_LEN);
}

static void take_signature(struct machine *m, struct wish *w, const struct reply *reply,
                           const void *payload, size_t len)
{
    uint64_t index = check_release(m, w, false, payload, len);
    if (index == UINT64_MAX)
        return;
    uint8_t hash[SHA256_LEN];
    digest_buffer(DIGEST_SHA256, hash, payload, len);
    check_same(m, w, index, hash);
    sim->counts.replayed += reply->replayed;
    SAY("%s answers '%s%s%s' for %s with %s signature of index %" PRIu64, m->name, w->what,
        w->slot[0] != '\0' ? " " : "", w->slot, key_of(w)->plan.key,
        reply->replayed ? "the stored" : "a", index);
    if (!quiet && chance_percent(&sim->chance, 5)) {
        sim->counts.lost_replies++;
        SAY("the answer is lost on its way");
        return;
    }
    received(m, w, index, hash);
}

/* Those who want for another artifact what was just reserved; they come once all answers of the
 * batch are out, since a new wish may take the place of an old one. */
static struct wish rivals[BATCH];
static size_t rival_count;

static void send_rivals(const struct machine *to)
{
    for (size_t i = 0; i < rival_count; i++)
        put_message((struct message){.wish = (uint16_t)(wish_wrong(&rivals[i]) - sim->wishes),
                                     .machine = (uint8_t)to->number,
                                     .kind = MESSAGE_RESERVE});
    rival_count = 0;
}

/* A prefix left; its client may come back at once, and another one ask for the same. */
static void take_prefix(struct machine *m, const struct wish *w, const struct reply *reply,
                        const void *payload, size_t len)
{
    struct message next = {.machine = (uint8_t)m->number};
    size_t at = remote_told(m, w, reply, payload, len);
    if (at == SIZE_MAX || quiet)
        return;
    next.wish = sim->holds[at].wish;
    next.kind = MESSAGE_COMMIT;
    next.hold = (uint16_t)at;
    if (chance_percent(&sim->chance, 40))
        put_message(next);
    if (chance_percent(&sim->chance, 15) && rival_count < BATCH)
        rivals[rival_count++] = *w;
}

static void take_signed_hash(struct machine *m, const struct visit *v, const struct reply *reply,
                             const void *payload, size_t len)
{
    struct wish *w = &sim->wishes[v->hold.wish];
    uint64_t index = remote_signed(m, v, payload, len);
    if (index == UINT64_MAX)
        return;
    uint8_t hash[SHA256_LEN];
    digest_buffer(DIGEST_SHA256, hash, payload, len);
    sim->counts.replayed += reply->replayed;
    sim->counts.hashes += !reply->replayed;
    SAY("%s answers a hash for %s with %s signature of index %" PRIu64, m->name,
        key_of(w)->plan.key, reply->replayed ? "the stored" : "a", index);
    if (!quiet && chance_percent(&sim->chance, 5)) {
        sim->counts.lost_replies++;
        SAY("the answer is lost on its way");
        return;
    }
    remote_received(m, v);
    if (w->key == v->hold.key && w->artifact == v->hold.artifact && !w->answered)
        received(m, w, index, hash);
}

/* A version that has its signature cannot come back as unknown or as bound to something else. */
static void check_refusal(struct machine *m, const struct wish *w, const struct reply *reply)
{
    bool forgotten = reply->rc == RC_REFUSED_BOUND || reply->rc == RC_REFUSED_IDEM_REUSED ||
                     reply->rc == RC_REFUSED_SPENT;
    if (!forgotten || !remembered(m, w))
        return;
    const struct oracle_key *key = key_of(w);
    oracle_break(&sim->oracle, "Replay",
                 "%s: '%s' of %s was answered with index %" PRIu64 " and is now refused: %s",
                 m->name, w->what, key->plan.key, w->index, reply->text);
}

/* @return false if it is a refusal. */
static bool take_good_answer(struct machine *m, struct wish *w, const struct visit *v,
                             const struct reply *reply, const void *payload, size_t len)
{
    bool commits = v->kind == MESSAGE_COMMIT || v->kind == MESSAGE_COMMIT_OTHER;
    if (reply->rc != RC_OK || payload == NULL || len == 0)
        return false;
    if (commits)
        take_signed_hash(m, v, reply, payload, len);
    else if (v->kind == MESSAGE_RESERVE && reply->reserved)
        take_prefix(m, w, reply, payload, len);
    else
        take_signature(m, w, reply, payload, len);
    return true;
}

static void take_refusal(struct machine *m, const struct wish *w, const struct visit *v,
                         const struct reply *reply)
{
    bool commits = v->kind == MESSAGE_COMMIT || v->kind == MESSAGE_COMMIT_OTHER;
    sim->counts.refused++;
    if (commits) {
        remote_refused(m, v, reply);
        SAY("%s answers a hash for index %" PRIu64 " of %s: %s: %s", m->name, v->hold.index,
            sim->oracle.keys[v->hold.key].plan.key, rc_name((enum rc)reply->rc), reply->text);
        return;
    }
    check_refusal(m, w, reply);
    SAY("%s answers '%s%s%s' for %s: %s: %s", m->name, w->what, w->slot[0] != '\0' ? " " : "",
        w->slot, key_of(w)->plan.key, rc_name((enum rc)reply->rc), reply->text);
}

static void answer(struct machine *m, struct item *item, const void *payload, size_t len)
{
    struct wish *w = &sim->wishes[item->request.number & UINT32_MAX];
    const struct visit *v = &visits[item->request.number >> VISIT_SHIFT];
    if (item->fd >= 0)
        (void)close(item->fd);
    item->fd = -1;
    last_reply = item->reply;
    EVENT(40, item->reply.rc);
    if (disk_is_off(m->disk)) {
        last_reply.rc = RC_HALT_SYSTEM;
        return; /* the power went before it could be sent */
    }
    sim->counts.requests++;
    if (take_good_answer(m, w, v, &item->reply, payload, len))
        return;
    if (item->reply.rc == RC_OK || payload != NULL || !rc_known(item->reply.rc) ||
        item->reply.text[0] == '\0')
        oracle_break(&sim->oracle, "I8", "%s answers with neither signature nor reason (%d)",
                     m->name, item->reply.rc);
    take_refusal(m, w, v, &item->reply);
}

void clients_begin(void)
{
    quiet = false;
    rival_count = 0;
    machines_set_answer(answer);
}

/* The network ---------------------------------------------------------------------------------- */

static struct item items[BATCH];
static uint8_t texts[BATCH][40];

static void hand_over(struct machine *m, size_t count)
{
    struct item *list[BATCH];
    for (size_t i = 0; i < count; i++)
        list[i] = &items[i];
    machine_turn(m, list, count);
}

/* A random message for a machine; SIZE_MAX: none. */
static size_t pick_message(const struct machine *m)
{
    size_t from =
        sim->message_count > 0 ? (size_t)chance_below(&sim->chance, sim->message_count) : 0;
    for (size_t i = 0; i < sim->message_count; i++) {
        size_t at = (from + i) % sim->message_count;
        if (sim->messages[at].machine == m->number)
            return at;
    }
    return SIZE_MAX;
}

static void say_asked(const struct machine *m, const struct message *message)
{
    const struct wish *w = &sim->wishes[message->wish];
    const struct hold *h = &sim->holds[message->hold];
    if (message->kind == MESSAGE_COMMIT || message->kind == MESSAGE_COMMIT_OTHER)
        SAY("%s is brought the hash of %s %u for index %" PRIu64 " of %s", m->name,
            message->kind == MESSAGE_COMMIT ? "artifact" : "another artifact than", h->artifact,
            h->index, sim->oracle.keys[h->key].plan.key);
    else
        SAY("%s is asked for '%s%s%s' of %s (artifact %u%s)", m->name, w->what,
            w->slot[0] != '\0' ? " " : "", w->slot, key_of(w)->plan.key, w->artifact,
            message->kind == MESSAGE_RESERVE ? ", hashed elsewhere" : "");
}

size_t clients_deliver(struct machine *m, size_t most)
{
    size_t count = 0;
    if (!m->running)
        return 0;
    machine_enter(m);
    while (count < most && count < BATCH) {
        size_t at = pick_message(m);
        if (at == SIZE_MAX)
            break;
        struct message message = sim->messages[at];
        sim->messages[at] = sim->messages[--sim->message_count];
        say_asked(m, &message);
        prepare(&items[count], &message, count, texts[count]);
        count++;
    }
    if (count > 0)
        hand_over(m, count);
    send_rivals(m);
    return count;
}

/* The first version behind everything that was ever computed, and from the floor on.
 * @return false if there is none. */
static bool choose_next(struct wish *w, const struct machine *m, unsigned tried, bool from_floor)
{
    const struct oracle_key *key = key_of(w);
    const struct sim_nv *nv = sim_tpm_nv(m->port.chip, key->on[m->number].w_handle);
    uint64_t index = 0;
    for (uint64_t i = 0; i < ORACLE_INDICES; i++)
        if ((key->index[i].computed || key->index[i].told.known) && !from_floor)
            index = i + 1;
    int64_t floor = nv != NULL ? (int64_t)nv->w - key->on[m->number].w_base : 0;
    if (floor > 0 && index < (uint64_t)floor * key->plan.window_size)
        index = (uint64_t)floor * key->plan.window_size;
    char slot[NAME_LEN_MAX + 1] = "";
    char version[VERSION_LEN_MAX + 1] = "";
    struct err err = {0};
    for (index += tried; index < ORACLE_INDICES; index++) {
        if (plan_version_of_index(&key->plan, index, version, slot, &err) != RC_OK)
            continue;
        (void)snprintf(w->what, sizeof(w->what), "%.23s", version);
        (void)snprintf(w->slot, sizeof(w->slot), "%.7s", slot);
        return true;
    }
    return false;
}

enum rc client_ask_now(struct machine *m, unsigned key, unsigned tried, bool from_floor,
                       struct reply *reply)
{
    struct wish *w = wish_make(key);
    quiet = true;
    last_reply = (struct reply){.rc = RC_HALT_SYSTEM};
    machine_enter(m);
    if (w->by_version && !choose_next(w, m, tried, from_floor))
        return RC_REFUSED_EXHAUSTED;
    struct message message = {.wish = (uint16_t)(w - sim->wishes),
                              .machine = (uint8_t)m->number,
                              .kind = remote_wanted(w) ? MESSAGE_RESERVE : MESSAGE_SIGN};
    prepare(&items[0], &message, 0, texts[0]);
    hand_over(m, 1);
    /* Reserved: now the hash, which makes it a signature. */
    if (last_reply.rc == RC_OK && last_reply.reserved) {
        last_reply = (struct reply){.rc = RC_HALT_SYSTEM};
        if (!m->running)
            return RC_HALT_SYSTEM;
        message.kind = MESSAGE_COMMIT;
        message.hold = (uint16_t)((sim->next_hold + HOLDS_MAX - 1) % HOLDS_MAX);
        machine_enter(m);
        prepare(&items[0], &message, 0, texts[0]);
        hand_over(m, 1);
    }
    *reply = last_reply;
    return (enum rc)last_reply.rc;
}
