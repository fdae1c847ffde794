// SPDX-License-Identifier: Apache-2.0
//
// Threads and OpenSSL's clean-up, which frees for every thread what OpenSSL holds for it: a thread
// that ends meanwhile must have nothing left to free, and one that is inside is waited for.
#include <dirent.h>
#include <gtest/gtest.h>
#include <openssl/rand.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "environment.h"
#include "gcs_peer.h"
#include "transport/openssl.h"
#include "transport/openssl_thread.h"
#include "transport/tls_context.h"

namespace gcs::test {
namespace {

using transport::begin_using_openssl;
using transport::OpensslThread;
using transport::OpensslUse;
using transport::TlsContext;
using transport::TlsSettings;

constexpr std::int64_t kTimeout = 20'000'000'000;

// Which frees of OpenSSL's come from the end of a thread. A thread's own objects are destroyed
// first, and then what libraries like OpenSSL have registered.
thread_local bool thread_has_ended = false;
std::atomic<unsigned> freed_at_ends{0};

struct EndMark {
  bool set = false;
  ~EndMark() { thread_has_ended = true; }
};
thread_local EndMark end_mark;

void mark_end_of_this_thread() {
  end_mark.set = true;
}

void count_free(void* memory, const char*, int) {
  if (memory != nullptr && thread_has_ended) ++freed_at_ends;
  std::free(memory);
}

// Before OpenSSL has any memory.
const bool frees_are_counted =
    CRYPTO_set_mem_functions(
        [](std::size_t size, const char*, int) { return std::malloc(size); },
        [](void* memory, std::size_t size, const char*, int) { return std::realloc(memory, size); },
        count_free) == 1;

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
    EXPECT_TRUE(frees_are_counted);
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

TEST_F(OpensslEnd, AThreadThatKeepsWhatOpensslHoldsGivesItBackBeforeItEnds) {
  unsigned char number = 0;
  EXPECT_EQ(freed_at_end_of_thread_that([&] {
              const OpensslThread thread;
              for (int i = 0; i < 3; ++i) {
                const OpensslUse use;
                EXPECT_EQ(RAND_bytes(&number, 1), 1);
              }
            }),
            0U);
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
  while (has_thread_named("gcs_io")) std::this_thread::yield();
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

TEST_F(OpensslEnd, NothingIsReadOnceTheCleanUpHasBegun) {
  const auto load_in_clean_up = [this] {
    OPENSSL_init_crypto(0, nullptr);
    static const TlsSettings& wanted = settings;
    static std::string error;
    OPENSSL_atexit([] {
      std::thread([] {
        if (TlsContext::load(wanted, &error) != nullptr) error = "a context";
      }).join();
    });
    OPENSSL_cleanup();
    std::_Exit(error.find("OpenSSL has been cleaned up") != std::string::npos ? 0 : 1);
  };
  EXPECT_EXIT(load_in_clean_up(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace gcs::test
