/*
 * verify-file: is this file that version, signed by that key? With libtidemark-verify alone.
 *
 *     tidemark plan compile router-fw.json --pub router-fw.pem --out router-fw.tmcp
 *     tidemark key public router-fw --format raw --out router-fw.pub
 *     cc -o verify-file verify-file.c $(pkg-config --cflags --libs tidemark-verify)
 *     ./verify-file router-fw.pub router-fw.tmcp router.bin.sig router.bin 4.2.1 kernel
 *
 * The last word may be a mark: the lowest that is still taken. A boot loader does the same with
 * flash instead of files, keeps that mark where an attacker cannot lower it, and raises it once the
 * new version has proved itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tidemark/verify.h>

/* What is read whole: 2 KiB of key, 64 KiB of signature and 512 KiB of plan are plenty. */
static uint8_t key_data[2048], sig[65536], plan_data[524288];

static size_t read_file(const char *path, uint8_t *data, size_t room)
{
    FILE *file = fopen(path, "rb");
    size_t len = file != NULL ? fread(data, 1, room, file) : 0;
    if (file == NULL || ferror(file) || len == room) {
        fprintf(stderr, "%s: %s\n", path, file == NULL ? strerror(errno) : "too long");
        exit(2);
    }
    fclose(file);
    return len;
}

static void must(enum tmv_result result, const char *what)
{
    if (result == TMV_OK)
        return;
    printf("BAD: %s: %s\n", what, tmv_result_text(result));
    exit(1);
}

/* A raw key begins with a zero byte, DER with 0x30; the plan knows the scheme of its key. */
static enum tmv_result read_key(struct tmv_key *key, const struct tmv_plan *plan, const char *path)
{
    size_t len = read_file(path, key_data, sizeof(key_data));
    return len > 0 && key_data[0] == 0x30 ? tmv_key_read_spki(key, key_data, len)
                                          : tmv_key_read(key, plan->scheme, key_data, len);
}

/* The file goes through in pieces; what the key signs is its bytes, or their digest. */
static void feed(struct tmv_verifier *v, const struct tmv_plan *plan, const char *path)
{
    uint8_t piece[4096], digest[TMV_DIGEST_MAX];
    struct tmv_hash hash;
    size_t len;
    FILE *file = fopen(path, "rb");
    if (plan->message != TMV_RAW)
        tmv_digest_begin(&hash, plan->message);
    while (file != NULL && (len = fread(piece, 1, sizeof(piece), file)) > 0) {
        if (plan->message == TMV_RAW)
            tmv_update(v, piece, len);
        else
            tmv_digest_update(&hash, piece, len);
    }
    if (file == NULL || ferror(file)) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    fclose(file);
    if (plan->message != TMV_RAW)
        tmv_update(v, digest, tmv_digest_final(&hash, digest));
}

int main(int argc, char **argv)
{
    struct tmv_plan plan;
    struct tmv_key key;
    struct tmv_verifier v;
    struct tmv_found found;
    struct tmv_place place;
    if (argc < 6 || argc > 8) {
        fprintf(stderr, "usage: %s PUBLIC-KEY PLAN SIGNATURE FILE VERSION [SLOT [LOWEST-MARK]]\n",
                argv[0]);
        return 2;
    }
    const char *slot = argc > 6 ? argv[6] : NULL;
    uint64_t lowest = argc > 7 ? strtoull(argv[7], NULL, 10) : 0;
    must(tmv_plan_open(&plan, plan_data, read_file(argv[2], plan_data, sizeof(plan_data))),
         argv[2]);
    must(read_key(&key, &plan, argv[1]), argv[1]);
    must(tmv_plan_check_key(&plan, &key), argv[2]);

    size_t sig_len = read_file(argv[3], sig, sizeof(sig));
    must(tmv_begin(&v, &key, sig, sig_len), argv[3]);
    feed(&v, &plan, argv[4]);
    must(tmv_final(&v, sig, sig_len, &found), argv[4]);
    must(tmv_plan_check_version(&plan, &found, argv[5], slot, &place), argv[5]);
    must(tmv_rollback_check_mark(&place, lowest), argv[5]);
    printf("good: %s, index %" PRIu64 ", window %" PRIu64 ", mark %" PRIu64 "\n", argv[5],
           place.index, place.window, place.mark);
    return 0;
}
