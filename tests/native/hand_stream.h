// SPDX-License-Identifier: Apache-2.0
//
// A stream that the test plays by hand: what is written to it stands there to be read, and the test
// says how much it takes, how much of that is delivered, and through `handler` what arrives.
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

#include "transport/byte_stream.h"

namespace gcs::test {

struct HandStream final : transport::ByteStream {
  // Outlives the stream.
  struct Ends {
    Handler* handler = nullptr;
    std::string written;      // the test may take from it
    std::uint64_t total = 0;  // bytes that were accepted
    int writes = 0;
    std::size_t room = std::numeric_limits<std::size_t>::max();
    std::uint64_t held_back = 0;  // accepted, but not delivered
    std::int64_t longest_pause = 0;
  };
  HandStream(Ends& ends, std::string_view scheme) : ends_(ends), scheme_(scheme) {}
  ~HandStream() override { ends_.handler = nullptr; }
  void open(Handler& handler) override { ends_.handler = &handler; }
  std::size_t write(std::span<const iovec> pieces) noexcept override {
    ++ends_.writes;
    std::size_t accepted = 0;
    for (const iovec& piece : pieces) {
      const std::size_t part = std::min(piece.iov_len, ends_.room);
      ends_.written.append(static_cast<const char*>(piece.iov_base), part);
      ends_.room -= part;
      accepted += part;
    }
    ends_.total += accepted;
    return accepted;
  }
  void pause_reading(std::int64_t nanoseconds) noexcept override {
    ends_.longest_pause = std::max(ends_.longest_pause, nanoseconds);
  }
  std::uint64_t delivered() const noexcept override { return ends_.total - ends_.held_back; }
  std::string waiting_for() const override { return "the hand did not move"; }
  std::string_view scheme() const noexcept override { return scheme_; }

 private:
  Ends& ends_;
  const std::string_view scheme_;
};

}  // namespace gcs::test
