// SPDX-License-Identifier: Apache-2.0
//
// A client used by several threads at once, while another drives its loop. Worth most under
// ThreadSanitizer.
#include <atomic>
#include <map>
#include <thread>

#include "client/log.h"
#include "client/process.h"
#include "client_fixture.h"

namespace gcs::test {
namespace {

class ClientThreads : public ClientTest {
 protected:
  // The I/O thread: runs until it is stopped.
  class Driver {
   public:
    explicit Driver(VirtualLoop& loop)
        : thread_([this, &loop] {
            while (!stop_) {
              loop.advance(kMillisecond);
              std::this_thread::yield();
            }
          }) {}
    Driver(const Driver&) = delete;
    Driver& operator=(const Driver&) = delete;
    ~Driver() {
      stop_ = true;
      thread_.join();
    }

   private:
    std::atomic<bool> stop_{false};
    std::thread thread_;
  };

  void answer_everything() {
    connector().script = [](VirtualPeer& at) { at.send_settings(); };
    connector().on_call = [](VirtualPeer& at, VirtualStream& stream) {
      at.reply(stream,
               stream.path == kGetClusterIdPath ? identity_reply(kClusterA) : value_reply("v"));
    };
  }
  static EventList batch(CompletionSink& to, std::uint64_t first, std::size_t count) {
    EventList calls;
    for (std::size_t i = 0; i < count; ++i) {
      auto call = i % 2 == 0 ? get_call("key") : put_call("key");
      call->id = first + i;
      call->timeout = static_cast<std::int64_t>(1 + i % 50) * kMillisecond;
      call->sink = SinkReference(&to);
      calls.push_back(std::move(call));
    }
    return calls;
  }
};

TEST_F(ClientThreads, EveryCallOfEveryThreadEndsOnceWhileOthersCancelAskAndClose) {
  constexpr std::size_t kThreads = 3;
  constexpr std::size_t kBatches = 150;
  constexpr std::size_t kBatch = 7;
  answer_everything();
  make_client();
  {
    Driver driver(loop());
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([this, thread] {
        for (std::size_t i = 0; i < kBatches; ++i) {
          const std::uint64_t first = reserve_ids(kBatch);
          client->submit(batch(sink, first, kBatch));
          if (i % 3 == thread) client->cancel(first + i % kBatch);
          if (i % 40 == 39) client->cancel_calls_of(SinkReference(&sink));
          static_cast<void>(client->stats());
          static_cast<void>(client->cluster_id());
          if (thread == 0 && i == kBatches * 3 / 4) client->close();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(client->wait_closed(20 * kSecond));
    // What came after the close ends in a later pass.
    for (int i = 0; i < 2'000 && sink.size() < kThreads * kBatches * kBatch; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  loop().run();
  std::map<std::uint64_t, int> ends;
  for (const auto& event : sink.events()) {
    if (event->kind == EventKind::kKvGet || event->kind == EventKind::kKvPut) ++ends[event->id];
  }
  EXPECT_EQ(ends.size(), kThreads * kBatches * kBatch);
  for (const auto& [id, count] : ends) EXPECT_EQ(count, 1) << id;
}

TEST_F(ClientThreads, AClientMayBeClosedByOthersWhileItIsMade) {
  options.event_sink = {};
  const std::shared_ptr<Runtime> runtime = std::make_shared<VirtualRuntime>();
  std::vector<std::weak_ptr<GcsClient>> made;
  {
    Driver driver(static_cast<VirtualRuntime&>(*runtime).loop());
    std::atomic<bool> stop{false};
    std::thread closer([&stop] {
      while (!stop) Runtime::shutdown(0);
    });
    for (int i = 0; i < 200; ++i) {
      const auto one = GcsClient::create(options, 1, &refusal, runtime);
      ASSERT_NE(one, nullptr);
      made.push_back(one);
      EXPECT_TRUE(one->wait_closed(20 * kSecond));
    }
    stop = true;
    closer.join();
  }
  for (const auto& client_seen : made)
    EXPECT_TRUE(client_seen.expired()) << "a closed client is kept alive";
}

TEST_F(ClientThreads, TheLogTakesRecordsWhileItsTargetChanges) {
  RecordingSink first;
  RecordingSink second;
  std::vector<std::thread> writers;
  for (int thread = 0; thread < 2; ++thread) {
    writers.emplace_back([] {
      for (int i = 0; i < 500; ++i) log::write(log::Level::kError, "record");
    });
  }
  for (int i = 0; i < 200; ++i) {
    log::set_target(SinkReference(i % 2 == 0 ? &first : &second), nullptr, nullptr);
    if (i % 10 == 9) log::set_target({}, nullptr, nullptr);
  }
  log::set_target(SinkReference(&first), nullptr, nullptr);
  for (std::thread& writer : writers) writer.join();
  log::set_target({}, nullptr, nullptr);
  EXPECT_LE(first.size() + second.size(), 1'000u);
  EXPECT_GT(first.size() + second.size(), 0u);
  EXPECT_TRUE(first.give_up());
  EXPECT_TRUE(second.give_up());
}

}  // namespace
}  // namespace gcs::test
