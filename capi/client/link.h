// SPDX-License-Identifier: Apache-2.0
//
// One connection of a client, from the attempt until its end: waits for the peer's SETTINGS, asks
// for the cluster's id where it has to be known, and is then ready for calls. When it is told to,
// it asks for the server's release of Ray beside them.
//
// A connection that has become suspect, or that the peer wants to end, takes no new calls; those on
// it may finish.
//
// Invariant: the owner hears of each link at most once that it is ready (per question about the
// identity), and exactly once that it has ended, after every call on it has ended. It may destroy
// the link inside any function of the Owner.
//
// Threads: whoever has the loop's turn.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/call.h"
#include "transport/connection.h"

namespace gcs {

class Link final : public transport::Connection::Observer {
 public:
  class Owner {
   public:
    // SETTINGS are there.
    virtual void link_connected(Link& link) noexcept = 0;
    // The answer to ask_identity(): the ended call.
    virtual void link_identified(Link& link, Call& answer) noexcept = 0;
    // The answer to ask_version(): the ended call.
    virtual void link_versioned(Link& link, Call& answer) noexcept = 0;
    virtual void link_has_capacity(Link& link) noexcept = 0;
    virtual void link_calls_ended(Link& link, transport::UnaryCall* first) noexcept = 0;
    virtual void link_draining(Link& link, const std::string& reason) noexcept = 0;
    virtual void link_ended(Link& link, const transport::ConnectionError& error) noexcept = 0;

   protected:
    ~Owner() = default;
  };

  enum class Phase : std::uint8_t { kConnecting, kIdentifying, kReady, kDraining };

  Link(Owner& owner, transport::Connector& connector, const transport::Address& address,
       const transport::ConnectionOptions& options);
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link() = default;

  // Sends GetClusterId with these headers. No call may be started until it has been answered.
  void ask_identity(std::vector<transport::Header> metadata, std::uint32_t token_version);
  // Sends CheckAlive with the headers of every call, as soon as the link is ready and has room for
  // it. Throws std::bad_alloc.
  void ask_version();
  void drop_version_question() noexcept;
  // What it said about itself: the number and the text; 0 and empty when not known.
  void set_version(std::uint32_t number, std::string text) noexcept {
    version_ = number;
    version_text_ = std::move(text);
  }
  std::uint32_t version() const noexcept { return version_; }
  const std::string& version_text() const noexcept { return version_text_; }
  // Answers to what was asked would be of no use any more.
  void drop_questions() noexcept;
  // Calls may be started, with these headers.
  void become_ready(std::vector<transport::Header> metadata, std::uint32_t token_version);
  // Of the token that is among them.
  std::uint32_t token_version() const noexcept { return token_version_; }

  bool can_start() const noexcept { return phase_ == Phase::kReady && connection_->can_start(); }
  void start(Call& call) noexcept {
    call.link = this;
    ++calls_;
    dirty_ = true;
    connection_->start(call);
  }
  void cancel(Call& call) noexcept {
    --calls_;
    dirty_ = true;
    connection_->cancel(call);
  }
  // A call was started at `now`.
  void note_waiting(transport::TimePoint now) noexcept {
    if (waiting_since_ <= connection_->last_received()) waiting_since_ = now;
  }
  // How long calls have waited while nothing came from the peer.
  std::int64_t silence(transport::TimePoint now) const noexcept {
    return waiting_since_ <= connection_->last_received() ? 0 : now - waiting_since_;
  }
  // No new calls; those that are on it may finish.
  void retire() noexcept {
    phase_ = Phase::kDraining;
    retired_ = true;
  }
  // It was retired, and nothing is left on it.
  bool is_spent() const noexcept { return retired_ && calls_ == 0; }
  void flush() noexcept {
    if (!dirty_) return;
    dirty_ = false;
    connection_->flush();
  }
  Phase phase() const noexcept { return phase_; }
  bool was_ready() const noexcept { return was_ready_; }
  const transport::Connection& connection() const noexcept { return *connection_; }
  // When the connection was begun and identified too slowly, this is the moment to give it up.
  transport::TimePoint identity_deadline = transport::kNever;
  // When it is no use to wait longer for the answer to ask_version(); kNever: nobody waits for one.
  transport::TimePoint version_deadline = transport::kNever;
  // What the owner has counted of the connection's bytes.
  std::uint64_t counted_sent = 0;
  std::uint64_t counted_received = 0;

  void on_ready() noexcept override;
  void on_capacity() noexcept override;
  void on_calls_ended(transport::UnaryCall* first) noexcept override;
  void on_draining(const std::string& reason) noexcept override;
  void on_closed(const transport::ConnectionError& error) noexcept override;

 private:
  void start_version_question() noexcept;
  void drop(std::unique_ptr<Call>& question) noexcept;

  Owner& owner_;
  Phase phase_ = Phase::kConnecting;
  bool dirty_ = false;
  bool retired_ = false;
  bool was_ready_ = false;
  std::uint32_t token_version_ = 0;
  std::uint32_t version_ = 0;
  std::string version_text_;
  std::size_t calls_ = 0;                   // in flight, the questions included
  transport::TimePoint waiting_since_ = 0;  // counts if nothing was received since
  std::unique_ptr<Call> question_;
  std::unique_ptr<Call> version_question_;
  // After the calls that it points to, so that it goes first.
  std::unique_ptr<transport::Connection> connection_;
};

}  // namespace gcs
