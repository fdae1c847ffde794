// SPDX-License-Identifier: Apache-2.0
//
// The thread owns the loop, and everyone else a Runtime, whose destructor stops it: so the last
// reference may be dropped on the I/O thread itself, and nobody ever has to join it.
#include "client/runtime.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "client/gcs_client.h"
#include "client/process.h"
#include "transport/asio_event_loop.h"
#include "transport/signals_blocked.h"
#include "transport/socket_connector.h"

namespace gcs {
namespace {

// 1 + the fork generation of the process that this thread is the I/O thread of.
thread_local std::uint32_t library_thread_of = 0;

struct Process {
  std::mutex mutex;
  std::condition_variable thread_ended;
  std::weak_ptr<Runtime> current;
  unsigned threads = 0;
  bool exiting = false;
  bool parks_at_exit = false;
  bool parks_before_tls_ends = false;
  std::vector<std::weak_ptr<GcsClient>> clients;
};

struct Machinery {
  Outbox outbox;
  transport::AsioEventLoop loop;
  transport::SocketConnector connector{loop};
};

void start_io_thread(std::unique_ptr<Machinery>& machinery, Process& process);

// Sees to what the thread leaves behind: nothing when it was stopped; all of it when a callback has
// ended it.
class Succession {
 public:
  Succession(std::unique_ptr<Machinery> machinery, Process& process) noexcept
      : machinery_(std::move(machinery)), process_(process) {}
  Succession(const Succession&) = delete;
  Succession& operator=(const Succession&) = delete;
  ~Succession() {
    if (machinery_ == nullptr) return;
    if (forked()) {
      static_cast<void>(machinery_.release());  // the parent's
      return;
    }
    bool exiting = false;
    {
      const std::lock_guard lock(process_.mutex);
      exiting = process_.exiting;
      if (exiting) end(lock);
    }
    if (exiting) {
      // Others may be using it, and the process ends anyway.
      static_cast<void>(machinery_.release());
    } else {
      while (machinery_ != nullptr) try_to_start();
    }
  }

  Machinery& machinery() noexcept { return *machinery_; }
  // A callback has forked, and this is the child, where nothing of the parent's may be touched.
  bool forked() const noexcept { return generation_ != fork_generation(); }
  void stopped() {
    machinery_.reset();
    end(std::lock_guard(process_.mutex));
  }

 private:
  void try_to_start() noexcept {
    try {
      start_io_thread(machinery_, process_);
    } catch (const std::exception&) {
      // No memory or no thread for now; calls wait for it, and so does this one, which is ending.
      const timespec pause{0, 10'000'000};
      nanosleep(&pause, nullptr);
    }
  }
  void end(const std::lock_guard<std::mutex>&) noexcept {
    --process_.threads;
    process_.thread_ended.notify_all();
  }

  const std::uint32_t generation_ = fork_generation();
  std::unique_ptr<Machinery> machinery_;
  Process& process_;
};

void run_io_thread(std::unique_ptr<Machinery> machinery, Process& process) {
  library_thread_of = fork_generation() + 1;
  pthread_setname_np(pthread_self(), "gcs_io");
  // A cancellation could only hit where nothing can unwind.
  int before = 0;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  Succession succession(std::move(machinery), process);
  {
    transport::AsioEventLoop& loop = succession.machinery().loop;
    Outbox& outbox = succession.machinery().outbox;
    const Outbox::Scope scope(outbox);
    do {
      outbox.hand_over();
      if (succession.forked()) return;
    } while (loop.run_one());
  }
  succession.stopped();
}

// Throws std::system_error or std::bad_alloc, and then has not taken the machinery.
void start_io_thread(std::unique_ptr<Machinery>& machinery, Process& process) {
  const transport::SignalsBlocked blocked;
  try {
    std::thread([running = machinery.get(), &process] {
      run_io_thread(std::unique_ptr<Machinery>(running), process);
    }).detach();
  } catch (const std::system_error& error) {
    throw std::system_error(error.code(), "the I/O thread cannot be started");
  }
  static_cast<void>(machinery.release());
}

void park_at_exit() {
  constexpr std::int64_t kPatience = 1'000'000'000;
  try {
    Process& process = per_process<Process>();
    const std::lock_guard lock(process.mutex);
    process.exiting = true;
  } catch (const std::exception&) {
    return;
  }
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
  Outbox* outbox() noexcept override { return &machinery_->outbox; }

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
  start_io_thread(machinery, process);
  runtime->started(started);
  ++process.threads;
  process.current = runtime;
  return runtime;
}

// What is registered later runs earlier. If the application has used OpenSSL, that has a handler of
// its own, perhaps behind the one of ours that acquire() registered; if we were the first, none.
void Runtime::park_before_tls_ends() {
  Process& process = per_process<Process>();
  const std::lock_guard lock(process.mutex);
  if (process.parks_before_tls_ends) return;
  process.parks_before_tls_ends = std::atexit(park_at_exit) == 0;
}

bool Runtime::on_library_thread() noexcept {
  return library_thread_of == fork_generation() + 1;
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

void RestOfRun::give_back() noexcept {
  EventList marked;
  while (auto event = events.pop_front()) {
    if (forked()) {
      static_cast<void>(event.release());
      continue;
    }
    event->sink = sink_;
    marked.push_back(std::move(event));
  }
  if (Outbox* outbox = Outbox::current()) {
    outbox->put_back(std::move(marked));
    return;
  }
  try {
    Runtime::acquire()->deliver_later(marked);
  } catch (const std::exception&) {
    // No I/O thread can be had: what they hold is given up with the process.
    while (auto event = marked.pop_front()) static_cast<void>(event.release());
  }
}

void Runtime::deliver_later(EventList& events) {
  auto delivery = std::make_unique<Delivery>(shared_from_this());
  delivery->take(events);
  loop().post(*delivery.release());
}

}  // namespace gcs
