/*
 * scenes: what the real daemon does while one of its calls goes wrong, and what must hold then.
 *
 * A scene has three parts: before() puts a world back in which nothing has happened yet, act() runs
 * with the fault armed, after() is without it: what was left undone is done again, the service
 * starts, signs and stops. Whatever a part finds that may not be is counted in *violations and said
 * on standard error; a call of the rig that fails ends the running cmocka test.
 */
#ifndef TESTS_FAULTS_SCENES_H
#define TESTS_FAULTS_SCENES_H

#include "faults/faultrig.h"

/* The worlds of all scenes. */
struct stage {
    struct clocks clocks;
    struct victim large; /* for the service itself */
    struct victim small; /* for tools on it; its save "behind" has a TPM that is ahead */
    struct victim fresh; /* takes the place of small */
    char passphrase[LAB_PATH + 16];
    char backup[LAB_PATH + 16]; /* of small, acknowledged */
    unsigned restores;
};

struct scene {
    const char *name;
    unsigned repeat; /* how often it may be played on one world, before before() is needed again */
    struct victim *(*before)(struct stage *s);
    void (*act)(struct stage *s, struct victim *v, struct book *b);
    unsigned (*after)(struct stage *s, struct victim *v, struct book *b);
};

enum scene_id {
    SCENE_SERVE,
    SCENE_KEY_NEW,
    SCENE_RECOVER,
    SCENE_REPLACE,
    SCENE_EXPORT,
    SCENE_CHECK,
    SCENE_COUNT
};
extern const struct scene scenes[SCENE_COUNT];

/** Clocks, victims and their templates; behind faults_open(). stage_close() in any case. */
void stage_open(struct stage *s);
void stage_close(struct stage *s);

#endif
