#include "faults/scenes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define STATEMENT "--old-device-destroyed 'shredded, two witnesses' --yes"
#define SERVE_REPEAT 40

/* Tools that found their work done already say so with this. */
#define EXIT_REFUSED 3

/* Stage ------------------------------------------------------------------------------------------
 */

/* Signs on, and then gets yesterday's disk back: its TPM is ahead. */
static void make_behind(struct victim *v)
{
    struct book b = {.size = 0};
    victim_start(v, &b);
    for (unsigned i = 0; i < 2; i++)
        victim_sign(v, &b);
    victim_stop(v, &b);
    victim_restore_state(v, "template");
    victim_save(v, "behind");
    victim_restore(v, "template");
}

/* A backup, its mark acknowledged, and a device that has signed since. */
static void make_backup(struct stage *s)
{
    struct victim *v = &s->small;
    struct book b = {.size = 0};
    (void)snprintf(s->passphrase, sizeof(s->passphrase), "%s/passphrase", lab_dir());
    (void)snprintf(s->backup, sizeof(s->backup), "%s/backup", lab_dir());
    assert_int_equal(lab_shell("echo 'correct horse battery staple' >'%s'", s->passphrase), 0);
    assert_int_equal(victim_tool(v, &b, "backup export --key fw --out '%s' --passphrase-file '%s'",
                                 s->backup, s->passphrase),
                     0);
    victim_save(v, "exported");
    assert_int_equal(
        victim_tool(v, &b, "backup check '%s' --passphrase-file '%s'", s->backup, s->passphrase),
        0);
    victim_start(v, &b);
    for (unsigned i = 0; i < 2; i++)
        victim_sign(v, &b);
    victim_stop(v, &b);
}

/* The new device knows what the old one has signed: no index of it may come again. */
static void make_fresh(struct stage *s)
{
    struct victim *v = &s->fresh;
    victim_make(v, "fresh", &s->clocks, VICTIM_EMPTY);
    v->turn = s->small.turn;
    memcpy(v->public_key, s->small.public_key, sizeof(v->public_key));
    memcpy(v->public_len, s->small.public_len, sizeof(v->public_len));
    evidence_copy(&v->all, &s->small.all);
    victim_save(v, "template");
}

void stage_open(struct stage *s)
{
    *s = (struct stage){.restores = 0};
    clocks_start(&s->clocks, "faults", false);
    victim_make(&s->large, "large", &s->clocks, VICTIM_LARGE);
    victim_make(&s->small, "small", &s->clocks, VICTIM_SMALL);
    victim_plan(&s->small, "extra.json", victim_extra_plan);
    make_behind(&s->small);
    make_backup(s);
    make_fresh(s);
}

void stage_close(struct stage *s)
{
    victim_end(&s->large);
    victim_end(&s->small);
    victim_end(&s->fresh);
    clocks_stop(&s->clocks);
}

/* The service signs on, with what is there, and stops; nothing is armed, so nothing goes wrong. */
static unsigned goes_on(struct victim *v, unsigned keys)
{
    struct book b = {.size = 0};
    victim_start(v, &b);
    if (keys != 0)
        victim_sign_some(v, &b, keys);
    victim_learn(v);
    victim_stop(v, &b);
    return victim_check(v) + victim_check_reuse(v) +
           book_strangers(&b, "starting clock-unsafe busy", "without a fault");
}

static unsigned expect(const struct victim *v, bool right, const char *what)
{
    if (!right)
        (void)fprintf(stderr, "FAULT: %s; last said: %s\n", what, v->said);
    return right ? 0 : 1;
}

/* The service itself -----------------------------------------------------------------------------
 */

static struct victim *serve_before(struct stage *s)
{
    victim_restore(&s->large, "template");
    return &s->large;
}

static void serve_act(struct stage *s, struct victim *v, struct book *b)
{
    (void)s;
    victim_start(v, b);
    victim_sign(v, b);
    victim_stop(v, b);
}

/* That it goes on is seen within the act: each fault strikes once, and everything asked for is
 * signed in the end. What strikes at the stop is behind the next act's start. */
static unsigned serve_after(struct stage *s, struct victim *v, struct book *b)
{
    (void)s;
    (void)b;
    return victim_check(v);
}

/* Tools ------------------------------------------------------------------------------------------
 */

static struct victim *small_before(struct stage *s)
{
    victim_restore(&s->small, "template");
    return &s->small;
}

static int key_new(struct victim *v, struct book *b)
{
    return victim_tool(v, b, "key new '%s/extra.json'", v->service.dir);
}

static void key_new_act(struct stage *s, struct victim *v, struct book *b)
{
    (void)s;
    (void)key_new(v, b);
}

/* Made by the second attempt, unless the first one got so far that the name is taken; then it is a
 * key like any other. */
static unsigned key_new_after(struct stage *s, struct victim *v, struct book *b)
{
    struct book second = {.size = 0};
    (void)s;
    int code = key_new(v, &second);
    bool made = b->size == 0 || code == 0;
    v->keys |= KEY_BUILDS;
    return expect(v, code == 0 || code == EXIT_REFUSED, "key new does not work behind the fault") +
           expect(v, !(b->size == 0 && code == 0), "key new made the same key twice") +
           goes_on(v, made || code == EXIT_REFUSED ? v->keys : KEY_FW);
}

static int export(const struct stage *s, struct victim *v, struct book *b, const char *name,
                  unsigned through)
{
    return victim_tool(v, b,
                       "backup export --key fw --through %u --out '%s/%s' --passphrase-file '%s'",
                       through, v->service.dir, name, s->passphrase);
}

static int check(const struct stage *s, struct victim *v, struct book *b, const char *name)
{
    return victim_tool(v, b, "backup check '%s/%s' --passphrase-file '%s'", v->service.dir, name,
                       s->passphrase);
}

/* An export that is acknowledged: without it nothing signs behind a recovery. */
static bool export_and_check(const struct stage *s, struct victim *v, unsigned through)
{
    struct book b = {.size = 0};
    assert_int_equal(lab_shell("rm -f '%s'/marked", v->service.dir), 0);
    return export(s, v, &b, "marked", through) == 0 && check(s, v, &b, "marked") == 0;
}

static struct victim *recover_before(struct stage *s)
{
    victim_restore(&s->small, "behind");
    return &s->small;
}

static int recover(struct victim *v, struct book *b)
{
    return victim_tool(v, b, "recover --key fw --yes");
}

static void recover_act(struct stage *s, struct victim *v, struct book *b)
{
    (void)s;
    (void)recover(v, b);
}

static unsigned recover_after(struct stage *s, struct victim *v, struct book *b)
{
    struct book second = {.size = 0};
    bool right = b->size == 0 || recover(v, &second) == 0;
    v->turn = 12; /* window 6: behind every window that two recoveries may have closed */
    right = right && export_and_check(s, v, 6);
    return expect(v, right, "recover does not work behind the fault") +
           (right ? goes_on(v, KEY_FW) : 0);
}

static struct victim *replace_before(struct stage *s)
{
    victim_restore(&s->fresh, "template");
    return &s->fresh;
}

static int replace(const struct stage *s, struct victim *v, struct book *b)
{
    return victim_tool(
        v, b, "recover --from '%s' --passphrase-file '%s' --acknowledged-through 0 " STATEMENT,
        s->backup, s->passphrase);
}

static void replace_act(struct stage *s, struct victim *v, struct book *b)
{
    (void)replace(s, v, b);
}

/* Its first window is exported and acknowledged before it signs. */
static unsigned replace_after(struct stage *s, struct victim *v, struct book *b)
{
    struct book second = {.size = 0};
    int code = replace(s, v, &second);
    bool right = b->size == 0 ? code == EXIT_REFUSED : code == 0 || code == EXIT_REFUSED;
    right = right && export_and_check(s, v, 2);
    v->keys = KEY_FW;
    v->turn = 4;
    return expect(v, right, "recover --from does not work behind the fault") +
           (right ? goes_on(v, KEY_FW) : 0);
}

static void export_act(struct stage *s, struct victim *v, struct book *b)
{
    assert_int_equal(lab_shell("rm -f '%s'/first '%s'/second", v->service.dir, v->service.dir), 0);
    (void)export(s, v, b, "first", 0);
}

/* What a killed export leaves is no backup, and says so; what another one leaves is whole, or not
 * there. Another export is always possible. */
static unsigned export_after(struct stage *s, struct victim *v, struct book *b)
{
    struct book second = {.size = 0};
    char path[LAB_PATH + 16];
    (void)snprintf(path, sizeof(path), "%s/first", v->service.dir);
    bool killed = b->size > 0 && strcmp(b->word[0], "exit-137") == 0;
    bool there = access(path, F_OK) == 0;
    int code = there ? check(s, v, &second, "first") : 0;
    unsigned wrong = expect(v, there || b->size > 0, "backup export made nothing") +
                     expect(v, code == 0 || (killed && code == 2), "a backup is not whole");
    bool right = export(s, v, &second, "second", 0) == 0 && check(s, v, &second, "second") == 0;
    return wrong + expect(v, right, "backup export does not work behind the fault") +
           goes_on(v, KEY_FW);
}

static struct victim *check_before(struct stage *s)
{
    victim_restore(&s->small, "exported");
    return &s->small;
}

static int check_backup(const struct stage *s, struct victim *v, struct book *b)
{
    return victim_tool(v, b, "backup check '%s' --passphrase-file '%s'", s->backup, s->passphrase);
}

static void check_act(struct stage *s, struct victim *v, struct book *b)
{
    (void)check_backup(s, v, b);
}

static unsigned check_after(struct stage *s, struct victim *v, struct book *b)
{
    struct book second = {.size = 0};
    (void)b;
    return expect(v, check_backup(s, v, &second) == 0,
                  "backup check does not work behind the fault") +
           goes_on(v, KEY_FW);
}

const struct scene scenes[SCENE_COUNT] = {
    [SCENE_SERVE] = {"serve", SERVE_REPEAT, serve_before, serve_act, serve_after},
    [SCENE_KEY_NEW] = {"key-new", 1, small_before, key_new_act, key_new_after},
    [SCENE_RECOVER] = {"recover", 1, recover_before, recover_act, recover_after},
    [SCENE_REPLACE] = {"recover-from", 1, replace_before, replace_act, replace_after},
    [SCENE_EXPORT] = {"backup-export", 1, small_before, export_act, export_after},
    [SCENE_CHECK] = {"backup-check", 1, check_before, check_act, check_after},
};
