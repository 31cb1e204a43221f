#include "sim/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/checks.h"
#include "sim/client.h"

#define REQUESTS 4

/* What the sleeping copy is told. */
enum order { ORDER_END, ORDER_RESUME, ORDER_RESUME_GUEST, ORDER_RESUME_WITH_TPM };

static struct {
    pid_t pid;    /* 0: none */
    int orders;   /* this program writes */
    int finished; /* and reads */
    unsigned machine;
    uint64_t lineage;
    struct sim_tpm chip;
    struct host_clock clock;
    int64_t taken_ns; /* true time */
} image;

static char hear(int fd)
{
    char c = 0;
    ssize_t got = 0;
    do
        got = read(fd, &c, 1);
    while (got < 0 && errno == EINTR);
    return got == 1 ? c : (char)ORDER_END;
}

static void tell(int fd, char c)
{
    ssize_t put = 0;
    do
        put = write(fd, &c, 1);
    while (put < 0 && errno == EINTR);
}

static void ask(struct machine *m)
{
    for (int i = 0; i < REQUESTS; i++)
        client_send(m);
    sim->ops += clients_deliver(m, REQUESTS);
    /* It may end by itself; its supervisor starts it again on the disk that it has. */
    if (!m->running && machine_start(m)) {
        client_send(m);
        sim->ops += clients_deliver(m, REQUESTS);
    }
}

/* Time goes on for this machine; the others are no part of the image. */
static void linger(struct machine *m)
{
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        machines[i].aside = &machines[i] != m;
    world_advance(chance_between(&sim->chance, 20, 200) * NS_PER_S);
    ask(m);
}

/* The image wakes up: the process does not know that it was away. The clocks of a guest stood still
 * all the while; a process alone finds those of its host. */
static void live(struct machine *m, enum order order)
{
    struct sim_tpm chip = sim->chips[m->number];
    struct host_clock clock = sim->clocks[m->number];
    if (order == ORDER_RESUME_WITH_TPM)
        sim->chips[m->number] = image.chip;
    if (order != ORDER_RESUME) {
        int64_t span_ns = sim->now_ns - image.taken_ns;
        sim->clocks[m->number] = image.clock;
        host_clock_pause(&sim->clocks[m->number], sim->now_ns, span_ns);
        truth_put_aside(m, span_ns);
        m->look_soon = true;
    }
    m->lineage += 1000; /* what it forgets, nobody counts on */
    m->disk_went_back = true;
    ask(m);
    if (m->powered && chance_percent(&sim->chance, 40))
        linger(m);
    sim->clocks[m->number] = clock;
    if (order == ORDER_RESUME_WITH_TPM)
        sim->chips[m->number] = chip; /* the snapshot's chip goes with the snapshot */
}

static _Noreturn void sleep_until_told(struct machine *m, int orders, int finished)
{
    enum order order = (enum order)hear(orders);
    if (order != ORDER_END) {
        live(m, order);
        tell(finished, 1);
    }
    _exit(0);
}

void image_drop(void)
{
    if (image.pid == 0)
        return;
    tell(image.orders, ORDER_END);
    (void)close(image.orders);
    (void)close(image.finished);
    (void)waitpid(image.pid, NULL, 0);
    image.pid = 0;
}

void image_take(struct machine *m)
{
    int orders[2];
    int finished[2];
    if (!m->running)
        return;
    image_drop();
    (void)fflush(NULL);
    MUST(pipe2(orders, O_CLOEXEC) == 0);
    MUST(pipe2(finished, O_CLOEXEC) == 0);
    image.machine = m->number;
    image.lineage = m->lineage;
    image.chip = *m->port.chip;
    image.clock = sim->clocks[m->number];
    image.taken_ns = sim->now_ns;
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        (void)close(orders[1]);
        (void)close(finished[0]);
        image.pid = 0;
        sleep_until_told(m, orders[0], finished[1]);
    }
    (void)close(orders[0]);
    (void)close(finished[1]);
    image.pid = pid;
    image.orders = orders[1];
    image.finished = finished[0];
    SAY("somebody keeps an image of %s's memory", m->name);
}

void image_resume(struct machine *m, bool with_tpm)
{
    if (image.pid == 0 || image.machine != m->number)
        return;
    MUST(!with_tpm || m->port.chip->identity.is_virtual);
    bool guest = with_tpm || chance_percent(&sim->chance, 50);
    SAY("the image of %s's memory is resumed%s%s", m->name,
        guest ? ", its clocks as they were" : "", with_tpm ? ", its virtual TPM with it" : "");
    sim->counts.images++;
    tell(image.orders, (char)(with_tpm ? ORDER_RESUME_WITH_TPM
                              : guest  ? ORDER_RESUME_GUEST
                                       : ORDER_RESUME));
    bool lived = hear(image.finished) == 1;
    int status = 0;
    (void)close(image.orders);
    (void)close(image.finished);
    (void)waitpid(image.pid, &status, 0);
    image.pid = 0;
    if (!lived || status != 0)
        oracle_break(&sim->oracle, "Image", "the image of %s came to a bad end (%d)", m->name,
                     status);
    /* It has used the TPM, so the process that was there before meets another session. */
    m->image_lived = m->image_lived || !with_tpm;
    machine_excuse_rewind(m);
    m->lineage++;
    check_forget(m);
    SAY("the image of %s is gone again", m->name);
}
