#include "sim/thrift.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/rc.h"

/* Memory --------------------------------------------------------------------------------------- */

#define PIECE_MIN_SHIFT 5
#define PIECE_SHIFTS 18 /* up to 4 MiB; more comes from malloc() */
#define SLAB (1024 * 1024)

#if defined(__SANITIZE_ADDRESS__)
#define PLAIN_MEMORY true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLAIN_MEMORY true
#endif
#endif
#ifndef PLAIN_MEMORY
#define PLAIN_MEMORY false
#endif

/* In front of each piece: which list it goes back to. */
union head {
    unsigned shift;
    union head *next;
    max_align_t align;
};

static union head *free_pieces[PIECE_SHIFTS];
static uint8_t *slab;
static size_t slab_left;

static unsigned shift_for(size_t size)
{
    unsigned shift = PIECE_MIN_SHIFT;
    while ((size_t)1 << shift < size + sizeof(union head))
        shift++;
    return shift;
}

static void *memory_get(int size)
{
    unsigned shift = shift_for((size_t)size);
    size_t len = (size_t)1 << shift;
    MUST(shift < PIECE_MIN_SHIFT + PIECE_SHIFTS);
    union head *piece = free_pieces[shift - PIECE_MIN_SHIFT];
    if (piece != NULL) {
        free_pieces[shift - PIECE_MIN_SHIFT] = piece->next;
    } else if (len > SLAB / 4) {
        piece = malloc(len);
    } else {
        if (slab_left < len) {
            slab = malloc(SLAB);
            slab_left = SLAB;
        }
        MUST(slab != NULL);
        piece = (union head *)(void *)(slab + SLAB - slab_left);
        slab_left -= len;
    }
    MUST(piece != NULL);
    piece->shift = shift;
    return piece + 1;
}

static void memory_put(void *memory)
{
    union head *piece = (union head *)memory - 1;
    unsigned list = piece->shift - PIECE_MIN_SHIFT;
    piece->next = free_pieces[list];
    free_pieces[list] = piece;
}

static int memory_size(void *memory)
{
    if (memory == NULL)
        return 0;
    return (int)(((size_t)1 << ((union head *)memory - 1)->shift) - sizeof(union head));
}

static void *memory_resize(void *memory, int size)
{
    if (size <= memory_size(memory))
        return memory;
    void *more = memory_get(size);
    memcpy(more, memory, (size_t)memory_size(memory));
    memory_put(memory);
    return more;
}

static int memory_round(int size)
{
    return (int)(((size_t)1 << shift_for((size_t)size)) - sizeof(union head));
}

static int memory_start(void *ctx)
{
    (void)ctx;
    return SQLITE_OK;
}

static void memory_stop(void *ctx)
{
    (void)ctx;
}

void thrift_begin(void)
{
    static const sqlite3_mem_methods methods = {.xMalloc = memory_get,
                                                .xFree = memory_put,
                                                .xRealloc = memory_resize,
                                                .xSize = memory_size,
                                                .xRoundup = memory_round,
                                                .xInit = memory_start,
                                                .xShutdown = memory_stop};
    MUST(sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) == SQLITE_OK);
    MUST(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK);
    if (!PLAIN_MEMORY)
        MUST(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK);
}

/* Statements ----------------------------------------------------------------------------------- */

#define LAZY_MAX 1024

/* Stands for a statement that nobody has used yet. */
struct lazy {
    sqlite3 *db; /* NULL: free */
    const char *sql;
    sqlite3_stmt *stmt;
    struct lazy *next_free;
};

static struct lazy lazies[LAZY_MAX];
static struct lazy *free_lazies;
static size_t lazies_used;

static struct lazy *lazy_of(sqlite3_stmt *stmt)
{
    struct lazy *l = (struct lazy *)(void *)stmt;
    return l >= lazies && l < lazies + LAZY_MAX ? l : NULL;
}

int __real_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int len, unsigned flags,
                              sqlite3_stmt **stmt, const char **tail);
int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int len, unsigned flags,
                              sqlite3_stmt **stmt, const char **tail);
int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int len, unsigned flags,
                              sqlite3_stmt **stmt, const char **tail)
{
    MUST(len == -1 && flags == SQLITE_PREPARE_PERSISTENT && tail == NULL);
    struct lazy *l = free_lazies;
    if (l != NULL)
        free_lazies = l->next_free;
    else
        l = lazies_used < LAZY_MAX ? &lazies[lazies_used++] : NULL;
    MUST(l != NULL);
    *l = (struct lazy){.db = db, .sql = sql};
    *stmt = (sqlite3_stmt *)(void *)l;
    return SQLITE_OK;
}

/* The real statement, compiled if need be; NULL if that fails. */
static sqlite3_stmt *real(sqlite3_stmt *stmt)
{
    struct lazy *l = lazy_of(stmt);
    if (l == NULL)
        return stmt;
    if (l->stmt == NULL)
        (void)__real_sqlite3_prepare_v3(l->db, l->sql, -1, SQLITE_PREPARE_PERSISTENT, &l->stmt,
                                        NULL);
    return l->stmt;
}

#define WRAP_STMT(type, name, parameters, ...)                                                     \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return __real_##name(__VA_ARGS__);                                                         \
    }

WRAP_STMT(int, sqlite3_step, (sqlite3_stmt * stmt), real(stmt))
WRAP_STMT(int, sqlite3_bind_int64, (sqlite3_stmt * stmt, int at, sqlite3_int64 value), real(stmt),
          at, value)
WRAP_STMT(int, sqlite3_bind_text,
          (sqlite3_stmt * stmt, int at, const char *text, int len, void (*end)(void *)), real(stmt),
          at, text, len, end)
WRAP_STMT(int, sqlite3_bind_blob,
          (sqlite3_stmt * stmt, int at, const void *data, int len, void (*end)(void *)), real(stmt),
          at, data, len, end)
WRAP_STMT(sqlite3_int64, sqlite3_column_int64, (sqlite3_stmt * stmt, int at), real(stmt), at)
WRAP_STMT(const unsigned char *, sqlite3_column_text, (sqlite3_stmt * stmt, int at), real(stmt), at)
WRAP_STMT(const void *, sqlite3_column_blob, (sqlite3_stmt * stmt, int at), real(stmt), at)
WRAP_STMT(int, sqlite3_column_bytes, (sqlite3_stmt * stmt, int at), real(stmt), at)
WRAP_STMT(int, sqlite3_column_type, (sqlite3_stmt * stmt, int at), real(stmt), at)

int __real_sqlite3_reset(sqlite3_stmt *stmt);
int __wrap_sqlite3_reset(sqlite3_stmt *stmt);
int __wrap_sqlite3_reset(sqlite3_stmt *stmt)
{
    struct lazy *l = lazy_of(stmt);
    return __real_sqlite3_reset(l != NULL ? l->stmt : stmt);
}

int __real_sqlite3_clear_bindings(sqlite3_stmt *stmt);
int __wrap_sqlite3_clear_bindings(sqlite3_stmt *stmt);
int __wrap_sqlite3_clear_bindings(sqlite3_stmt *stmt)
{
    struct lazy *l = lazy_of(stmt);
    if (l == NULL)
        return __real_sqlite3_clear_bindings(stmt);
    return l->stmt != NULL ? __real_sqlite3_clear_bindings(l->stmt) : SQLITE_OK;
}

int __real_sqlite3_finalize(sqlite3_stmt *stmt);
int __wrap_sqlite3_finalize(sqlite3_stmt *stmt);
int __wrap_sqlite3_finalize(sqlite3_stmt *stmt)
{
    struct lazy *l = lazy_of(stmt);
    if (l == NULL)
        return __real_sqlite3_finalize(stmt);
    int s = __real_sqlite3_finalize(l->stmt);
    *l = (struct lazy){.next_free = free_lazies};
    free_lazies = l;
    return s;
}
