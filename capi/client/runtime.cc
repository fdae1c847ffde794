// SPDX-License-Identifier: Apache-2.0
//
// The thread owns the loop, and everyone else a Runtime, whose destructor stops it: so the last
// reference may be dropped on the I/O thread itself, and nobody ever has to join it.
#include "client/runtime.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "client/gcs_client.h"
#include "client/process.h"
#include "transport/asio_event_loop.h"
#include "transport/socket_connector.h"

namespace gcs {
namespace {

thread_local bool is_library_thread = false;

struct Process {
  std::mutex mutex;
  std::condition_variable thread_ended;
  std::weak_ptr<Runtime> current;
  unsigned threads = 0;
  bool parks_at_exit = false;
  std::vector<std::weak_ptr<GcsClient>> clients;
};

struct Machinery {
  transport::AsioEventLoop loop;
  transport::SocketConnector connector{loop};
};

// Blocks every signal for as long as it lives: a thread inherits the mask of the one that starts
// it.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

void run_io_thread(std::unique_ptr<Machinery> machinery, Process& process) {
  is_library_thread = true;
  machinery->loop.run();
  machinery.reset();
  const std::lock_guard lock(process.mutex);
  --process.threads;
  process.thread_ended.notify_all();
}

void park_at_exit() {
  constexpr std::int64_t kPatience = 1'000'000'000;
  Runtime::shutdown(kPatience);
}

class ThreadRuntime final : public Runtime {
 public:
  ThreadRuntime() = default;
  ThreadRuntime(const ThreadRuntime&) = delete;
  ThreadRuntime& operator=(const ThreadRuntime&) = delete;
  ~ThreadRuntime() override {
    if (machinery_ != nullptr) machinery_->loop.stop();
  }

  // The thread runs; from now on it has to be stopped.
  void started(Machinery& machinery) noexcept { machinery_ = &machinery; }

  transport::EventLoop& loop() noexcept override { return machinery_->loop; }
  transport::Connector& connector() noexcept override { return machinery_->connector; }

 private:
  // The thread's; it lives at least until stop().
  Machinery* machinery_ = nullptr;
};

class Delivery final : public transport::Task {
 public:
  explicit Delivery(std::shared_ptr<Runtime> runtime) noexcept : runtime_(std::move(runtime)) {}
  void take(EventList& events) noexcept { events_ = std::move(events); }
  void run() noexcept override {
    const std::unique_ptr<Delivery> self(this);
    deliver(std::move(events_));
  }

 private:
  const std::shared_ptr<Runtime> runtime_;
  EventList events_;
};

template <class Visit>
void for_each_client(Visit&& visit) noexcept {
  try {
    Process& process = per_process<Process>();
    std::vector<std::shared_ptr<GcsClient>> clients;
    {
      const std::lock_guard lock(process.mutex);
      clients.reserve(process.clients.size());
      for (const auto& client : process.clients) {
        if (auto alive = client.lock()) clients.push_back(std::move(alive));
      }
    }
    for (const auto& client : clients) visit(*client);
  } catch (const std::exception&) {
  }
}

}  // namespace

std::shared_ptr<Runtime> Runtime::acquire() {
  Process& process = per_process<Process>();
  const std::lock_guard lock(process.mutex);
  if (auto runtime = process.current.lock()) return runtime;
  auto runtime = std::make_shared<ThreadRuntime>();
  auto machinery = std::make_unique<Machinery>();
  Machinery& started = *machinery;
  if (!process.parks_at_exit) process.parks_at_exit = std::atexit(park_at_exit) == 0;
  {
    const SignalsBlocked blocked;
    std::thread([machinery = std::move(machinery), &process]() mutable {
      run_io_thread(std::move(machinery), process);
    }).detach();
  }
  runtime->started(started);
  ++process.threads;
  process.current = runtime;
  return runtime;
}

bool Runtime::on_library_thread() noexcept {
  return is_library_thread;
}

bool Runtime::shutdown(std::int64_t timeout) noexcept {
  for_each_client([](GcsClient& client) { client.close(); });
  try {
    Process& process = per_process<Process>();
    std::unique_lock lock(process.mutex);
    const auto ended = [&process] { return process.threads == 0; };
    if (timeout < 0) {
      process.thread_ended.wait(lock, ended);
      return true;
    }
    return process.thread_ended.wait_for(lock, std::chrono::nanoseconds(timeout), ended);
  } catch (const std::exception&) {
    return false;
  }
}

void Runtime::cancel_calls_of(CompletionSink& sink) noexcept {
  for_each_client([&sink](GcsClient& client) { client.cancel_calls_of(SinkReference(&sink)); });
}

void Runtime::add_client(const std::shared_ptr<GcsClient>& client) {
  Process& process = per_process<Process>();
  const std::lock_guard lock(process.mutex);
  std::erase_if(process.clients, [](const auto& known) { return known.expired(); });
  process.clients.push_back(client);
}

void Runtime::deliver_later(EventList& events) {
  auto delivery = std::make_unique<Delivery>(shared_from_this());
  delivery->take(events);
  loop().post(*delivery.release());
}

}  // namespace gcs
