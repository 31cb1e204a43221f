/*
 * fake_service: an HTTP server in a thread of the test that answers what the test tells it to, and
 * keeps what it was asked. One connection at a time, one request on each.
 */
#ifndef TESTS_FAKE_SERVICE_H
#define TESTS_FAKE_SERVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_BODY_MAX (8 * 1024 * 1024)

struct fake_request {
    char method[16];
    char target[2048];
    char headers[8192]; /* as they came, lines with CR LF */
    uint8_t *body;      /* body_len bytes; owned by the service */
    size_t body_len;
};

struct fake_answer {
    int status; /* 0: hang up without a word */
    char type[64];
    char headers[512]; /* more header lines, each with CR LF */
    const void *body;
    size_t len;
    size_t say_len;        /* Content-Length, if it shall differ from len */
    bool raw;              /* body is all that is sent, header and all */
    char store[64 * 1024]; /* room for a body */
};

/** Fill *answer, which is zero but for status 200 and type application/json. Runs in the thread. */
typedef void (*fake_handler)(void *ctx, const struct fake_request *request,
                             struct fake_answer *answer);

struct fake_service {
    int listener;
    uint16_t port; /* 0 for a unix socket */
    int stop[2];
    pthread_t thread;
    fake_handler handler;
    void *ctx;
    struct fake_request request;
    struct fake_answer answer;
};

/** Listen on 127.0.0.1, or on a unix socket if path is not NULL. */
void fake_start(struct fake_service *s, const char *path, fake_handler handler, void *ctx);
void fake_stop(struct fake_service *s);

/** Value of a header of a request, or false. */
bool fake_header(const struct fake_request *request, const char *name, char *value, size_t size);

/** Answer with printed text. */
void fake_text(struct fake_answer *answer, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
