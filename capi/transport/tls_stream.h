// SPDX-License-Identifier: Apache-2.0
//
// A ByteStream that is TLS over another one.
//
// Invariants:
// - OpenSSL never sees a socket: it reads from the bytes that the stream below hands over, and
//   writes into memory, from which they go down as that stream takes them. (Its own sockets would
//   raise SIGPIPE.)
// - The stream is open when the handshake has ended on this side, the peer's certificate is valid
//   and for the right name, and HTTP/2 was agreed on. With TLS 1.3 the peer may refuse our
//   certificate only after that.
// - One batch of records at most is accepted beyond what the stream below takes.
// - All that was received at once is handed over at once, however many records it was.
// - No close_notify is sent: HTTP/2 knows itself where a message ends, and a stream may be dropped
//   at any moment.
//
// Threads: whoever has the loop's turn.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "transport/byte_stream.h"
#include "transport/event_loop.h"
#include "transport/tls_context.h"
#include "transport/tls_output.h"

namespace gcs::transport {

class TlsStream final : public ByteStream, private ByteStream::Handler, private Task {
 public:
  // `host` is the one that was asked for, a name or an IP address. Throws std::bad_alloc.
  TlsStream(EventLoop& loop, std::unique_ptr<ByteStream> below,
            std::shared_ptr<const TlsMaterial> material, const std::string& host);
  ~TlsStream() override;
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  void open(ByteStream::Handler& handler) override;
  std::size_t write(std::span<const iovec> pieces) noexcept override;
  void pause_reading(std::int64_t nanoseconds) noexcept override;
  std::uint64_t delivered() const noexcept override { return output_.delivered(); }
  std::string waiting_for() const override;
  std::string_view scheme() const noexcept override { return "https"; }

 private:
  static constexpr std::size_t kLargestRecord = 16384;

  void on_open() noexcept override;
  void on_received(std::span<const std::uint8_t> bytes) noexcept override;
  void on_writable() noexcept override;
  void on_failed(const ConnectionError& error) noexcept override;
  void run() noexcept override;  // a write has failed

  static const BIO_METHOD* bio_method();
  static int bio_read(BIO* bio, char* out, int size);
  static int bio_write(BIO* bio, const char* data, int size);
  static int verify(int ok, X509_STORE_CTX* verification);
  static int certificate_wanted(SSL* session, void* self);

  void expect_name();
  bool check_first_bytes(std::span<const std::uint8_t> bytes);
  void go_on() noexcept;
  bool shake_hands(const OpensslUse& openssl) noexcept;
  void hand_over() noexcept;
  bool encrypt(std::span<const std::uint8_t> record) noexcept;
  void break_soon() noexcept;
  std::string handshake_failed(unsigned long error) const;
  std::string refusal(const std::string& reason) const;
  void read_failed(int kind, unsigned long error) noexcept;
  void lost(const ConnectionError& error);
  void fail(ConnectionError::Kind kind, std::string message) noexcept;
  // False if the handler has destroyed this stream.
  template <class Call>
  bool tell(Call&& call) noexcept;

  const std::shared_ptr<const TlsMaterial> material_;
  std::string name_;  // the one that the certificate is to have
  OpensslSession session_;
  std::unique_ptr<ByteStream> below_;
  TlsOutput output_;
  const std::unique_ptr<Timer> timer_;
  std::unique_ptr<std::uint8_t[]> plaintext_;        // received
  std::array<std::uint8_t, kLargestRecord> record_;  // small pieces of one record to be
  ByteStream::Handler* handler_ = nullptr;           // nullptr: nobody is told anything any more

  std::span<const std::uint8_t> input_;  // while the stream below hands over

  std::string certificate_failure_;
  std::string broken_;         // why a write has failed
  bool* destroyed_ = nullptr;  // set while the handler may be on the stack
  bool below_open_ = false;
  bool blocked_ = false;   // the owner was told so
  bool heard_ = false;     // the peer has sent something
  bool shaken_ = false;    // the handshake has ended here
  bool received_ = false;  // plaintext: the peer has accepted us
  bool certificate_wanted_ = false;
};

}  // namespace gcs::transport
