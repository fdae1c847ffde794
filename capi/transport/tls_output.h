// SPDX-License-Identifier: Apache-2.0
//
// What TLS has encrypted and the stream below has not taken yet, and which plaintext lies in what
// it has.
//
// Invariants:
// - Bytes leave in the order in which they came.
// - delivered() counts the plaintext of those records alone that the stream below has delivered
//   whole: the peer can read nothing of a record of which a byte is missing.
// - A stream that did not take everything is left alone until unblock().
//
// Threads: whoever has the loop's turn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "transport/byte_stream.h"

namespace gcs::transport {

class TlsOutput {
 public:
  explicit TlsOutput(ByteStream& below) noexcept : below_(below) {}

  // Throws std::bad_alloc, and then has appended nothing.
  void append(std::span<const std::uint8_t> ciphertext);
  // Makes sure that the next add_record() needs no memory. Throws std::bad_alloc.
  void reserve_record();
  // What was appended last completes a record of so many bytes of plaintext.
  void add_record(std::size_t plaintext) noexcept;

  // Gives the stream below what it takes.
  void flush() noexcept;
  bool blocked() const noexcept { return blocked_; }
  void unblock() noexcept { blocked_ = false; }
  // Not taken yet.
  std::size_t size() const noexcept { return bytes_.size() - begin_; }
  // Of plaintext.
  std::uint64_t delivered() const noexcept;

 private:
  // A record's last byte in the stream below, and that of its plaintext.
  struct Record {
    std::uint64_t end_below = 0;
    std::uint64_t end = 0;
  };

  ByteStream& below_;
  std::vector<std::uint8_t> bytes_;
  std::size_t begin_ = 0;
  std::uint64_t appended_ = 0;   // ever
  std::vector<Record> records_;  // not delivered when it was last looked
  std::uint64_t plaintext_ = 0;  // ever
  std::uint64_t delivered_ = 0;  // when it was last looked
  bool blocked_ = false;
};

// The bytes of several pieces, cut into records.
class TlsPieces {
 public:
  explicit TlsPieces(std::span<const iovec> pieces) noexcept : pieces_(pieces) {
    for (const iovec& piece : pieces) left_ += piece.iov_len;
  }
  std::size_t left() const noexcept { return left_; }
  // The next bytes, as many as there is room for: where they lie, or copied together in `room`.
  // Some have to be left.
  std::span<const std::uint8_t> take(std::span<std::uint8_t> room) noexcept;

 private:
  void skip_empty() noexcept;
  std::span<const std::uint8_t> take_here(std::size_t size) noexcept;

  std::span<const iovec> pieces_;
  std::size_t at_ = 0;  // within the first
  std::size_t left_ = 0;
};

}  // namespace gcs::transport
