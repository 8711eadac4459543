// What the system calls alone of an iSCSI client cost: one request of 4 KiB at a time is sent and its answer received, by
// the calls that an `IOExecutor` makes, and nothing is looked at but whether it is one. Prints requests each second, and
// microseconds of processor time for each.
//
// For `Fixtures/bench-iscsi`: no client that sleeps until its answer comes can do with less.
#include <arpa/inet.h>
#include <iscsi/iscsi.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { HEADER = 48, DATA = 4096 };

static unsigned char buffer[2 * (HEADER + DATA)];

static void put(unsigned char *at, uint32_t value) {
    value = htonl(value);
    memcpy(at, &value, sizeof value);
}

static uint32_t get(const unsigned char *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static double processor_time(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

// Sends a request and receives `count` bytes of its answer.
static void exchange(struct io_uring *ring, int descriptor, const unsigned char *request, int count) {
    if (send(descriptor, request, HEADER, MSG_NOSIGNAL) != HEADER) fail("send");
    for (int done = 0; done < count;) {
        struct io_uring_sqe *entry = io_uring_get_sqe(ring);
        struct io_uring_cqe *completion;
        io_uring_prep_recv(entry, descriptor, buffer + done, sizeof buffer - done, 0);
        entry->ioprio |= 1;  // IORING_RECVSEND_POLL_FIRST
        if (io_uring_submit_and_wait(ring, 1) < 0 || io_uring_peek_cqe(ring, &completion) < 0) fail("io_uring");
        if (completion->res <= 0) fail("the target has ended the connection");
        done += completion->res;
        io_uring_cqe_seen(ring, completion);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) fail("usage: iscsi-system-calls iscsi://PORTAL/IQN/LUN SECONDS");
    struct iscsi_context *context = iscsi_create_context("iqn.2026-01.org.sluice:system-calls");
    struct iscsi_url *url = context ? iscsi_parse_full_url(context, argv[1]) : NULL;
    if (!url) fail("no such URL");
    iscsi_set_targetname(context, url->target);
    iscsi_set_session_type(context, ISCSI_SESSION_NORMAL);
    iscsi_set_header_digest(context, ISCSI_HEADER_DIGEST_NONE);
    if (iscsi_full_connect_sync(context, url->portal, url->lun)) fail(iscsi_get_error(context));
    int descriptor = iscsi_get_fd(context);

    struct io_uring ring;
    struct io_uring_params parameters = {.flags = 1 << 12 | 1 << 13};  // SINGLE_ISSUER, DEFER_TASKRUN
    if (io_uring_queue_init_params(8, &ring, &parameters) < 0) fail("no io_uring");

    // A ping, whose answer has the numbers that come next.
    unsigned char ping[HEADER] = {0x40, 0x80};
    put(ping + 16, 1);
    put(ping + 20, UINT32_MAX);
    exchange(&ring, descriptor, ping, HEADER);
    uint32_t answer = get(buffer + 24) + 1, number = get(buffer + 28), place = 1;

    double before = processor_time(), start = seconds(), limit = atof(argv[2]);
    long count = 0;
    while (seconds() - start < limit) {
        place = place * 1103515245 + 12345;
        // READ (10) of 8 blocks somewhere in the first GiB.
        unsigned char request[HEADER] = {0x01, 0xc1, [9] = url->lun, [32] = 0x28, [40] = 8};
        put(request + 16, count & INT32_MAX);
        put(request + 20, DATA);
        put(request + 24, number++);
        put(request + 28, answer);
        put(request + 34, (place >> 8) % (1 << 18) * 8);
        exchange(&ring, descriptor, request, HEADER + DATA);
        if (buffer[0] != 0x25) fail("the answer is not data");
        answer = get(buffer + 24) + 1;
        count++;
    }
    double elapsed = seconds() - start;
    printf("%f %f\n", count / elapsed, (processor_time() - before) * 1e6 / count);
    return 0;
}
