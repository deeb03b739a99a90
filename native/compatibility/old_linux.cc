// What headers of newer systems call and old ones lack. The linker finds these first, and nobody else sees them.
#include "compatibility/old_linux.h"

#ifdef __GLIBC__
#include <pthread.h>
#include <time.h>

extern "C" {

// glibc 2.32. 0 is always right: counters of shared pointers then change atomically.
char __libc_single_threaded = 0;

// glibc 2.30; std::condition_variable waits until a time of the steady clock by it. It may return early, and is called
// again then.
int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock, const timespec* until) {
  constexpr long kSecond = 1000000000;
  timespec now, real;
  clock_gettime(clock, &now);
  clock_gettime(CLOCK_REALTIME, &real);
  timespec then = {real.tv_sec + until->tv_sec - now.tv_sec, real.tv_nsec + until->tv_nsec - now.tv_nsec};
  if (then.tv_nsec < 0) then = {then.tv_sec - 1, then.tv_nsec + kSecond};
  if (then.tv_nsec >= kSecond) then = {then.tv_sec + 1, then.tv_nsec - kSecond};
  return pthread_cond_timedwait(condition, mutex, &then);
}

}  // extern "C"
#endif
