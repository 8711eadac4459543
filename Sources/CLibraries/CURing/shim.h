#pragma once
// liburing.h asks for GNU and X/Open declarations, under which `fd_set` has other member names than in the modules that
// the C library's headers are in already. So the shared types come first, as those modules have them, and only the
// function declarations and constants after them are GNU's.
#include <sys/types.h>
#include <signal.h>
#include <time.h>
#define __USE_GNU 1
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/magic.h>
#include <liburing.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <sys/un.h>

// In <stdio.h>, <fcntl.h> and <sys/uio.h>, for GNU only.
int renameat2(int, const char *, int, const char *, unsigned int);
ssize_t preadv2(int, const struct iovec *, int, off_t, int);
