// SPDX-License-Identifier: Apache-2.0
//
// An allocator of which one allocation fails: it stands before the C library's, for every library
// that the program has loaded. Only those allocations count that a thread makes while it is inside
// the library under test, and those of the threads that it starts there.
//
// It defines malloc() and pthread_create(): for one file of a program.
#pragma once

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
}

namespace {

// Allocations until one fails; 0 or less: none does.
constinit std::atomic<long> countdown{0};
// What this thread allocates counts, and what the threads do that it starts.
constinit thread_local bool counted = false;

bool fails() noexcept {
  return counted && countdown.load(std::memory_order_relaxed) > 0 &&
         countdown.fetch_sub(1, std::memory_order_relaxed) == 1;
}

struct ThreadStart {
  void* (*function)(void*);
  void* argument;
  bool counted;
};

void* run_thread(void* user) {
  const ThreadStart start = *static_cast<ThreadStart*>(user);
  std::free(user);
  counted = start.counted;
  return start.function(start.argument);
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) {
  if (!fails()) return __libc_malloc(size);
  errno = ENOMEM;
  return nullptr;
}

void* calloc(std::size_t count, std::size_t size) {
  if (!fails()) return __libc_calloc(count, size);
  errno = ENOMEM;
  return nullptr;
}

void* realloc(void* old, std::size_t size) {
  if (!fails()) return __libc_realloc(old, size);
  errno = ENOMEM;
  return nullptr;
}

int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
  if (fails()) return ENOMEM;
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}

void* aligned_alloc(std::size_t alignment, std::size_t size) {
  return fails() ? nullptr : __libc_memalign(alignment, size);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*function)(void*),
                   void* argument) {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  auto* const start = static_cast<ThreadStart*>(__libc_malloc(sizeof(ThreadStart)));
  if (start == nullptr) return EAGAIN;
  *start = {function, argument, counted};
  const int error = create(thread, attributes, run_thread, start);
  if (error != 0) std::free(start);
  return error;
}

}  // extern "C"

namespace gcs::test {

// While it lives, what this thread allocates counts.
class InLibrary {
 public:
  InLibrary() noexcept { counted = true; }
  InLibrary(const InLibrary&) = delete;
  InLibrary& operator=(const InLibrary&) = delete;
  ~InLibrary() { counted = false; }
};

}  // namespace gcs::test
