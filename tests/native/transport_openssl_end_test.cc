// SPDX-License-Identifier: Apache-2.0
//
// Threads and OpenSSL's clean-up, which frees for every thread what OpenSSL holds for it: a thread
// that ends meanwhile must have nothing left to free, and one that is inside is waited for.
#include <dirent.h>
#include <gtest/gtest.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "environment.h"
#include "gcs_peer.h"
#include "transport/openssl.h"
#include "transport/tls_context.h"

namespace gcs::test {
namespace {

using transport::begin_using_openssl;
using transport::OpensslUse;
using transport::TlsContext;
using transport::TlsSettings;

constexpr std::int64_t kTimeout = 20'000'000'000;

// OpenSSL's memory, a mapping for each block, so that whoever touches one that was freed crashes.
struct Block {
  std::size_t size;
  std::max_align_t content;
};

void* allocate(std::size_t size, const char*, int) {
  void* const mapped = ::mmap(nullptr, offsetof(Block, content) + size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* const block = static_cast<Block*>(mapped);
  block->size = size;
  return &block->content;
}

Block* block_of(void* memory) {
  return reinterpret_cast<Block*>(static_cast<char*>(memory) - offsetof(Block, content));
}

// Which frees come from the end of a thread. The keys of a thread are destroyed in the order in
// which they were made, behind its objects.
thread_local bool thread_has_ended = false;
std::atomic<unsigned> freed_at_ends{0};
pthread_key_t end_key;

void release(void* memory, const char*, int) {
  if (memory == nullptr) return;
  if (thread_has_ended) ++freed_at_ends;
  ::munmap(block_of(memory), offsetof(Block, content) + block_of(memory)->size);
}

void* reallocate(void* memory, std::size_t size, const char*, int) {
  void* const made = allocate(size, nullptr, 0);
  if (memory != nullptr && made != nullptr) {
    std::memcpy(made, memory, std::min(size, block_of(memory)->size));
    release(memory, nullptr, 0);
  }
  return made;
}

// Before OpenSSL has any memory, or a key.
const bool memory_is_watched = CRYPTO_set_mem_functions(allocate, reallocate, release) == 1;
const bool ends_are_watched =
    pthread_key_create(&end_key, [](void*) { thread_has_ended = true; }) == 0;

void mark_end_of_this_thread() {
  pthread_setspecific(end_key, &end_key);
}

bool has_thread_named(const std::string& name) {
  DIR* const tasks = ::opendir("/proc/self/task");
  bool found = false;
  while (const dirent* const task = ::readdir(tasks)) {
    std::string text;
    std::getline(std::ifstream(std::string("/proc/self/task/") + task->d_name + "/comm"), text);
    found |= text == name;
  }
  ::closedir(tasks);
  return found;
}

class OpensslEnd : public ::testing::Test {
 protected:
  OpensslEnd() {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    settings.ca_file = folder.write("ca.pem", authority.certificate_pem());
    EXPECT_TRUE(memory_is_watched);
    EXPECT_TRUE(ends_are_watched);
    freed_at_ends = 0;
  }
  template <class Work>
  static unsigned freed_at_end_of_thread_that(Work&& work) {
    std::thread([&work] {
      mark_end_of_this_thread();
      work();
    }).join();
    return freed_at_ends.exchange(0);
  }
  void load() {
    std::string error;
    EXPECT_NE(TlsContext::load(settings, &error), nullptr) << error;
  }

  ScopedEnvironment environment;
  TemporaryFolder folder;
  const Identity authority{{.common_name = "test CA", .is_authority = true}};
  TlsSettings settings;
};

TEST_F(OpensslEnd, AThreadThatHasReadCertificatesHasNothingLeftToFree) {
  ASSERT_GT(freed_at_end_of_thread_that([] { ERR_clear_error(); }), 0U) << "nothing can be seen";
  EXPECT_EQ(freed_at_end_of_thread_that([this] { load(); }), 0U);
  settings.ca_file = folder.path();
  EXPECT_EQ(freed_at_end_of_thread_that([this] {
              std::string error;
              EXPECT_EQ(TlsContext::load(settings, &error), nullptr);
            }),
            0U);
}

TEST_F(OpensslEnd, AThreadThatHasComeBackHasNothingLeftToFree) {
  EXPECT_EQ(freed_at_end_of_thread_that([] {
              for (int i = 0; i < 3; ++i) {
                unsigned char number = 0;
                const OpensslUse use;
                const OpensslUse inner;
                EXPECT_EQ(RAND_bytes(&number, 1), 1);
              }
            }),
            0U);
}

TEST_F(OpensslEnd, WhatTheApplicationHasOfOpensslForItsThreadStaysWhileTheThreadLives) {
  std::thread([this] {
    EVP_RAND_CTX* const numbers = RAND_get0_public(nullptr);
    load();
    unsigned char number = 0;
    EXPECT_EQ(EVP_RAND_generate(numbers, &number, 1, 0, 0, nullptr, 0), 1);
  }).join();
}

TEST_F(OpensslEnd, AForkDoesNotStarveBesideThreadsThatKeepComingBack) {
  ASSERT_TRUE(begin_using_openssl());
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&over] {
      while (!over) {
        const OpensslUse use;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
  }
  for (int i = 0; i < 8; ++i) {
    const auto began = std::chrono::steady_clock::now();
    const pid_t child = ::fork();
    if (child == 0) {
      { const OpensslUse use; }
      ::_exit(0);
    }
    const auto took = std::chrono::steady_clock::now() - began;
    EXPECT_LT(took, std::chrono::milliseconds(800)) << "a second is what it waits at most";
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
}

TEST_F(OpensslEnd, TheIoThreadHasNothingLeftToFree) {
  const Identity identity{{.common_name = "gcs"}, &authority};
  const ServerTls::Options tls{.identity = &identity};
  const GcsPeer peer(&tls);
  const std::string address = peer.address();
  gcs_client_options options;
  gcs_client_options_init(&options, sizeof options);
  options.address = address.c_str();
  options.tls_ca_file = settings.ca_file.c_str();
  gcs_client client = 0;
  ASSERT_EQ(gcs_client_create(&options, &client, nullptr), GCS_OK);
  Ending ending;
  const auto mark_and_end = [](void* user, gcs_event* event) {
    mark_end_of_this_thread();
    Ending::receive(user, event);
  };
  ASSERT_EQ(gcs_client_connect(client, kTimeout, nullptr, mark_and_end, &ending), GCS_OK);
  ASSERT_TRUE(ending.wait());
  EXPECT_EQ(ending.status(), GCS_OK) << ending.message();
  ASSERT_TRUE(has_thread_named("gcs_io"));
  EXPECT_EQ(gcs_client_destroy(client, kTimeout), GCS_OK);
  EXPECT_EQ(gcs_shutdown(kTimeout), GCS_OK);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (has_thread_named("gcs_io") && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  ASSERT_FALSE(has_thread_named("gcs_io"));
  EXPECT_EQ(freed_at_ends, 0U);
}

// In processes of their own: OpenSSL does not come back.

TEST_F(OpensslEnd, TheCleanUpWaitsForAThreadThatIsInside) {
  const auto clean_up = [] {
    ASSERT_TRUE(begin_using_openssl());
    std::atomic<int> state{0};
    std::thread([&state] {
      const OpensslUse use;
      state = 1;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      state = 2;
    }).detach();
    while (state == 0) std::this_thread::yield();
    OPENSSL_cleanup();
    std::_Exit(state);
  };
  EXPECT_EXIT(clean_up(), ::testing::ExitedWithCode(2), "");
}

TEST_F(OpensslEnd, ThreadsMayEndWhileTheCleanUpRuns) {
  const auto clean_up = [this] {
    OPENSSL_init_ssl(0, nullptr);
    std::atomic<unsigned> loaded{0};
    std::atomic<bool> end{false};
    for (int i = 0; i < 8; ++i) {
      std::thread([this, &loaded, &end] {
        load();
        ++loaded;
        while (!end) std::this_thread::yield();
      }).detach();
    }
    while (loaded < 8) std::this_thread::yield();
    end = true;
    OPENSSL_cleanup();
    std::_Exit(0);
  };
  for (int i = 0; i < 10; ++i) EXPECT_EXIT(clean_up(), ::testing::ExitedWithCode(0), "");
}

TEST_F(OpensslEnd, NobodyEntersBehindTheCleanUpThoughItsOwnThreadDoes) {
  const auto clean_up = [] {
    ASSERT_TRUE(begin_using_openssl());
    OPENSSL_cleanup();
    { const OpensslUse use; }
    std::atomic<bool> entered{false};
    std::thread([&entered] {
      const OpensslUse use;
      entered = true;
    }).detach();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    std::_Exit(entered ? 1 : 0);
  };
  EXPECT_EXIT(clean_up(), ::testing::ExitedWithCode(0), "");
}

TEST_F(OpensslEnd, NothingIsReadOnceTheCleanUpHasBegun) {
  static std::atomic<unsigned> refused;
  static std::atomic<unsigned> read;
  const auto load_in_clean_up = [this] {
    OPENSSL_init_ssl(0, nullptr);
    refused = read = 0;
    static const TlsSettings& wanted = settings;
    static const auto try_to_load = [] {
      std::string error;
      const bool made = TlsContext::load(wanted, &error) != nullptr;
      ++(made || error.find("OpenSSL has been cleaned up") == std::string::npos ? read : refused);
    };
    OPENSSL_atexit([] {
      for (int i = 0; i < 8; ++i) {
        std::thread([] {
          for (;;) std::thread(try_to_load).join();
        }).detach();
      }
      while (refused + read < 1000) std::this_thread::yield();
    });
    OPENSSL_cleanup();
    std::_Exit(read == 0 ? 0 : 1);
  };
  for (int i = 0; i < 10; ++i) EXPECT_EXIT(load_in_clean_up(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace gcs::test
