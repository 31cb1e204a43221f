/*
 * stack: how much stack libtidemark-verify takes, measured on a stack that was painted before.
 *
 * Usage: stack FILE... with files of tests/fuzz/verify. Reads keys, verifies signatures and opens
 * plans on a stack of its own, and looks how deep it was written to. Prints one line:
 * "key=… stream=… whole=… plan=… verifier=… key_struct=… plan_struct=…", in bytes; 0 for what this
 * build of the library left out. tests/verify/size.sh builds it with each selection of schemes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "verify/verify.h"

#define STACK_LEN 65536
#define PAINT 0xa5

enum work { NOTHING, READ_KEY, STREAM, WHOLE, PLAN, WORKS };

static uint8_t stack[STACK_LEN] __attribute__((aligned(64)));
static ucontext_t here, there;
static size_t deepest[WORKS];

/* What the work is about; not on the stack that is measured. */
static uint8_t file[65536];
static size_t file_len;
static struct tmv_key key;
static struct tmv_verifier verifier;
static struct tmv_found found;
static enum tmv_result result;
static const uint8_t *pub, *sig, *message;
static size_t pub_len, sig_len, message_len;
static enum work work;

#if TMV_WITH_PLAN
static struct tmv_plan plan;
static struct tmv_place place;
static char version[TMV_TEXT_MAX + 1], slot[TMV_TEXT_MAX + 1];

static void use_plan(void)
{
    result = tmv_plan_open(&plan, file + 1, file_len - 1);
    if (result != TMV_OK)
        return;
    found = (struct tmv_found){0, plan.height};
    result = tmv_plan_check_key(&plan, &key);
    result = tmv_plan_check_index(&plan, &found, &place);
    tmv_plan_print(&plan, &place, version, slot);
    if (plan.kind == TMV_PLAN_VERSION)
        result = tmv_plan_check_version(&plan, &found, version, slot, &place);
    if (plan.kind == TMV_PLAN_TIME)
        result = tmv_plan_check_time(&plan, &found, place.start_s, &place);
}
#else
static void use_plan(void)
{
}
#endif

static void run(void)
{
    switch (work) {
    case READ_KEY:
        result = tmv_key_read(&key, (enum tmv_scheme)file[1], pub, pub_len);
        break;
    case STREAM:
        result = tmv_begin(&verifier, &key, sig, sig_len);
        if (result == TMV_OK) {
            tmv_update(&verifier, message, message_len);
            result = tmv_final(&verifier, sig, sig_len, &found);
        }
        break;
    case WHOLE:
        result = tmv_verify(&key, message, message_len, sig, sig_len, &found);
        break;
    case PLAN:
        use_plan();
        break;
    case NOTHING:
    case WORKS:
        break;
    }
}

static void measure(enum work what)
{
    size_t untouched = 0;
    memset(stack, PAINT, sizeof(stack));
    work = what;
    if (getcontext(&there) != 0)
        exit(2);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = sizeof(stack);
    there.uc_link = &here;
    makecontext(&there, run, 0);
    if (swapcontext(&here, &there) != 0)
        exit(2);
    while (untouched < sizeof(stack) && stack[untouched] == PAINT)
        untouched++;
    if (sizeof(stack) - untouched > deepest[what])
        deepest[what] = sizeof(stack) - untouched;
}

static void measure_signature(const char *name)
{
    pub_len = (size_t)file[2] << 8 | file[3];
    pub = file + 4;
    sig = pub + pub_len + 2;
    sig_len = (size_t)sig[-2] << 8 | sig[-1];
    message = sig + sig_len;
    message_len = file_len - (size_t)(message - file);
    measure(READ_KEY);
    if (result == TMV_UNSUPPORTED)
        return;
    measure(STREAM);
    if (result == TMV_OK)
        measure(WHOLE);
    if (result != TMV_OK && result != TMV_UNSUPPORTED) {
        fprintf(stderr, "%s: %s\n", name, tmv_result_text(result));
        exit(1);
    }
}

static void measure_file(const char *name)
{
    FILE *f = fopen(name, "rb");
    file_len = f != NULL ? fread(file, 1, sizeof(file), f) : 0;
    if (f == NULL || file_len < 8) {
        fprintf(stderr, "%s: not readable\n", name);
        exit(2);
    }
    fclose(f);
    if (file[0] == '2')
        measure_signature(name);
    if (file[0] == '3')
        measure(PLAN);
}

/* Without what changing to the other stack takes by itself. */
static unsigned above_nothing(enum work what)
{
    return (unsigned)(deepest[what] > deepest[NOTHING] ? deepest[what] - deepest[NOTHING] : 0);
}

int main(int argc, char **argv)
{
    size_t plan_len = 0;
#if TMV_WITH_PLAN
    plan_len = sizeof(struct tmv_plan);
#endif
    measure(NOTHING);
    for (int i = 1; i < argc; i++)
        measure_file(argv[i]);
    printf("key=%u stream=%u whole=%u plan=%u verifier=%zu key_struct=%zu plan_struct=%zu\n",
           above_nothing(READ_KEY), above_nothing(STREAM), above_nothing(WHOLE),
           above_nothing(PLAN), sizeof(struct tmv_verifier), sizeof(struct tmv_key), plan_len);
    return deepest[WHOLE] > 0 ? 0 : 1;
}
