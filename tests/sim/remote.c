#include "sim/remote.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "sim/checks.h"

#define ARTIFACT_MAX 40

static bool percent(unsigned n)
{
    return chance_percent(&sim->chance, n);
}

bool remote_wanted(const struct wish *w)
{
    if (!sim->oracle.keys[w->key].plan.remote.allowed)
        return false;
    return percent(10) ? !w->remote : w->remote;
}

bool remote_comes_back(struct message *message)
{
    if (sim->hold_count == 0 || !percent(35))
        return false;
    uint64_t newest = sim->hold_count < 4 ? sim->hold_count : 4;
    uint64_t back = 1 + chance_below(&sim->chance, percent(60) ? newest : sim->hold_count);
    size_t at = (sim->next_hold + HOLDS_MAX - back) % HOLDS_MAX;
    *message = (struct message){.wish = sim->holds[at].wish,
                                .kind = percent(20) ? MESSAGE_COMMIT_OTHER : MESSAGE_COMMIT,
                                .hold = (uint16_t)at};
    return true;
}

void remote_reserve(struct request *r, const char *text, size_t len)
{
    r->op = REQUEST_RESERVE;
    r->body = REQUEST_BODY_DIGEST;
    r->body_len = 0;
    r->digest_kind = DIGEST_SHA256;
    digest_buffer(DIGEST_SHA256, r->digest, text, len);
}

uint16_t remote_artifact(const struct visit *v)
{
    return v->kind == MESSAGE_COMMIT_OTHER ? artifact_other(v->hold.artifact) : v->hold.artifact;
}

void remote_commit(struct request *r, const struct visit *v)
{
    uint8_t all[HBS_PREFIX_MAX + ARTIFACT_MAX];
    char text[ARTIFACT_MAX];
    size_t len = artifact_text(remote_artifact(v), text);
    memcpy(all, v->hold.prefix, v->hold.prefix_len);
    memcpy(all + v->hold.prefix_len, text, len);
    r->op = REQUEST_COMMIT;
    memcpy(r->id, v->hold.id, sizeof(r->id));
    digest_buffer(DIGEST_SHA256, r->digest, all, v->hold.prefix_len + len);
    r->hash_len = v->hold.hash_len;
}

size_t remote_told(struct machine *m, const struct wish *w, const struct reply *reply,
                   const void *payload, size_t len)
{
    const struct oracle_key *key = &sim->oracle.keys[w->key];
    if (!check_told(m, w, reply, payload, len))
        return SIZE_MAX;
    SAY("%s reserves index %" PRIu64 " of %s for '%s%s%s'", m->name, reply->signature.index,
        key->plan.key, w->what, w->slot[0] != '\0' ? " " : "", w->slot);
    size_t at = sim->next_hold;
    struct hold *h = &sim->holds[at];
    sim->next_hold = (at + 1) % HOLDS_MAX;
    if (sim->hold_count < HOLDS_MAX)
        sim->hold_count++;
    *h = (struct hold){.key = w->key,
                       .wish = (uint16_t)(w - sim->wishes),
                       .artifact = w->artifact,
                       .index = reply->signature.index,
                       .prefix_len = len,
                       .hash_len = strcmp(reply->hash, "sha256/192") == 0 ? 24 : 32,
                       .machine = (uint8_t)m->number};
    memcpy(h->id, reply->signature.id, sizeof(h->id));
    memcpy(h->prefix, payload, len);
    return at;
}

/* What a client holds, if its place was not given to another. */
static struct hold *held(const struct visit *v)
{
    struct hold *h = &sim->holds[v->at];
    bool same = h->key == v->hold.key && h->artifact == v->hold.artifact &&
                h->index == v->hold.index && h->machine == v->hold.machine;
    return same ? h : NULL;
}

uint64_t remote_signed(struct machine *m, const struct visit *v, const void *signature, size_t len)
{
    const struct wish brought = {.key = v->hold.key, .artifact = remote_artifact(v)};
    uint64_t index = check_release(m, &brought, true, signature, len);
    if (index != UINT64_MAX && index != v->hold.index)
        oracle_break(&sim->oracle, "Remote",
                     "%s: a hash for index %" PRIu64 " was answered with index %" PRIu64, m->name,
                     v->hold.index, index);
    return index;
}

void remote_received(const struct machine *m, const struct visit *v)
{
    struct hold *h = held(v);
    if (h == NULL)
        return;
    size_t which = v->kind == MESSAGE_COMMIT_OTHER;
    h->answered[which].known = true;
    h->answered[which].machine = (uint8_t)m->number;
    h->answered[which].lineage = m->lineage;
}

/* A reservation ends with its window. Whoever finds out only while it signs has begun to. */
static void check_window_over(const struct machine *m, const struct visit *v,
                              const struct reply *reply)
{
    const struct oracle_key *key = &sim->oracle.keys[v->hold.key];
    const struct oracle_index *at = &key->index[v->hold.index];
    const struct sim_nv *nv = sim_tpm_nv(m->port.chip, key->on[m->number].w_handle);
    if (rc_class((enum rc)reply->rc) != RC_CLASS_BURNED || at->reserved.process != m->process ||
        nv == NULL || nv->w == at->reserved.w)
        return;
    oracle_break_key(&sim->oracle, key, "I5",
                     "%s: a hash for index %" PRIu64 " of %s was taken though a later window is "
                     "open: %s",
                     m->name, v->hold.index, key->plan.key, reply->text);
}

void remote_refused(struct machine *m, const struct visit *v, const struct reply *reply)
{
    const struct oracle_key *key = &sim->oracle.keys[v->hold.key];
    size_t which = v->kind == MESSAGE_COMMIT_OTHER;
    bool late = reply->rc == RC_REFUSED_EXPIRED || reply->rc == RC_REFUSED_NOT_FOUND;
    bool other = reply->rc == RC_REFUSED_OTHER_HASH;
    sim->counts.hashes_late += late;
    sim->counts.hashes_other += other;
    if ((late || other) && v->hold.answered[which].known &&
        v->hold.answered[which].machine == m->number &&
        v->hold.answered[which].lineage == m->lineage)
        oracle_break(&sim->oracle, "Replay",
                     "%s: a hash for index %" PRIu64 " of %s was signed and is now refused: %s",
                     m->name, v->hold.index, key->plan.key, reply->text);
    check_window_over(m, v, reply);
    if (other && !key->index[v->hold.index].computed)
        oracle_break(&sim->oracle, "Remote",
                     "%s: index %" PRIu64 " of %s is said to have signed another hash, and was "
                     "never computed",
                     m->name, v->hold.index, key->plan.key);
}
