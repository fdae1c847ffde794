// SPDX-License-Identifier: Apache-2.0
//
// The process's one I/O thread. The first client starts it, and it ends when the last reference to
// it is gone; the next client starts another. It blocks all signals. A callback may end it
// (pthread_exit): another thread takes its place then. At exit the process waits for it, bounded in
// time; nothing is ever destroyed statically.
//
// In the child of a fork the inherited runtime is left alone for ever, and acquire() makes a new
// one.
#pragma once

#include <cstdint>
#include <memory>

#include "client/event.h"
#include "client/outbox.h"
#include "client/process.h"
#include "transport/connection.h"
#include "transport/event_loop.h"

namespace gcs {

class GcsClient;

class Runtime : public std::enable_shared_from_this<Runtime> {
 public:
  virtual ~Runtime() = default;

  // Throws std::bad_alloc, or std::system_error if the thread cannot be started.
  static std::shared_ptr<Runtime> acquire();
  // True on the I/O thread, and inside any callback that it runs.
  static bool on_library_thread() noexcept;
  // Closes every client, and waits until the I/O thread has ended or `timeout` nanoseconds are over
  // (false).
  static bool shutdown(std::int64_t timeout) noexcept;
  // Every call of every client that would complete at `sink` is cancelled. Any thread; returns
  // before it is done.
  static void cancel_calls_of(CompletionSink& sink) noexcept;
  // Has the I/O thread end before OpenSSL, which is in use already, is taken down at exit. Throws
  // std::bad_alloc.
  static void park_before_tls_ends();
  // Makes a client known to the two functions above. Throws std::bad_alloc.
  static void add_client(const std::shared_ptr<GcsClient>& client);

  virtual transport::EventLoop& loop() noexcept = 0;
  virtual transport::Connector& connector() noexcept = 0;
  // Of the I/O thread; nullptr where none hands over: then events are delivered where they arise.
  virtual Outbox* outbox() noexcept { return nullptr; }

  // Hands events to their sinks on the I/O thread. Any thread. Throws std::bad_alloc, and then has
  // not taken them.
  void deliver_later(EventList& events);
};

// What a sink has not taken of a run when the application's code ends the thread inside of it: goes
// back to the sink by way of the I/O thread that there is then.
class RestOfRun {
 public:
  RestOfRun(EventList run, CompletionSink& sink) noexcept : events(std::move(run)), sink_(&sink) {}
  // Events, and this is not the child of a fork that the application's code has made meanwhile:
  // they are the parent's then.
  bool has_more() const noexcept { return !events.empty() && !forked(); }
  RestOfRun(const RestOfRun&) = delete;
  RestOfRun& operator=(const RestOfRun&) = delete;
  ~RestOfRun() {
    if (!events.empty()) give_back();
  }

  EventList events;

 private:
  bool forked() const noexcept { return generation_ != fork_generation(); }
  void give_back() noexcept;

  const std::uint32_t generation_ = fork_generation();
  const SinkReference sink_;
};

}  // namespace gcs
