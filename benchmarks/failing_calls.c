/* Preloaded into a run: makes its n-th write, fsync or rename below one folder fail.
 *
 * FAILING_CALLS names a file of int64 numbers that the runs and whoever started them share:
 * which call (0 write, 1 fsync, 2 rename), which number of it (0: none), the errno, whether it came
 * to that, and how often each call was made. FAILING_CALLS_BELOW is the folder.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE, FSYNC, RENAME };
enum { CALL, NUMBER, ERROR, HAPPENED, MADE };

static int64_t *shared;
static const char *below;

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("FAILING_CALLS");
  int file = path ? open(path, O_RDWR) : -1;
  below = getenv("FAILING_CALLS_BELOW");
  if (file < 0 || !below) return;
  void *memory = mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory != MAP_FAILED) shared = memory;
  close(file);
}

static int fails(int call, const char *path) {
  if (!shared || strncmp(path, below, strlen(below))) return 0;
  int64_t made = __sync_add_and_fetch(&shared[MADE + call], 1);
  if (shared[CALL] != call || shared[NUMBER] != made) return 0;
  shared[HAPPENED] = 1;
  errno = (int)shared[ERROR];
  return 1;
}

static int fails_on(int call, int file) {
  char link[64], path[4096];
  int kept = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = shared ? readlink(link, path, sizeof path - 1) : -1;
  errno = kept;
  if (length < 0) return 0;
  path[length] = 0;
  return fails(call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *data, size_t size) {
  return fails_on(WRITE, file) ? -1 : REAL(write)(file, data, size);
}
ssize_t pwrite(int file, const void *data, size_t size, off_t place) {
  return fails_on(WRITE, file) ? -1 : REAL(pwrite)(file, data, size, place);
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
  return fails_on(WRITE, file) ? -1 : REAL(pwrite64)(file, data, size, place);
}
ssize_t writev(int file, const struct iovec *parts, int count) {
  return fails_on(WRITE, file) ? -1 : REAL(writev)(file, parts, count);
}
ssize_t sendfile(int to, int from, off_t *place, size_t size) {
  return fails_on(WRITE, to) ? -1 : REAL(sendfile)(to, from, place, size);
}
ssize_t sendfile64(int to, int from, off64_t *place, size_t size) {
  return fails_on(WRITE, to) ? -1 : REAL(sendfile64)(to, from, place, size);
}
size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
  return fails_on(WRITE, fileno(file)) ? 0 : REAL(fwrite)(data, size, count, file);
}
int fsync(int file) { return fails_on(FSYNC, file) ? -1 : REAL(fsync)(file); }
int fdatasync(int file) { return fails_on(FSYNC, file) ? -1 : REAL(fdatasync)(file); }
int rename(const char *from, const char *to) {
  return fails(RENAME, to) ? -1 : REAL(rename)(from, to);
}
