// SPDX-License-Identifier: Apache-2.0
//
// The handler is told from the functions that the stream below calls, and from the timer, never
// from write(): what fails there is reported a turn later.
#include "transport/tls_stream.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "transport/first_bytes.h"
#include "transport/tls_text.h"

namespace gcs::transport {
namespace {

// Encrypted at once, and offered to the stream below in one write.
constexpr std::size_t kBatch = std::size_t{128} << 10;
// A peer that makes us answer, and reads nothing, does not fill the memory.
constexpr std::size_t kOutputCap = std::size_t{512} << 10;
constexpr std::size_t kReadBuffer = std::size_t{256} << 10;

// A record begins with its type, and the version's major number 3.
constexpr std::uint8_t kFirstRecordType = 20;
constexpr std::uint8_t kLastRecordType = 23;
constexpr std::uint8_t kMajorVersion = 3;

// As certificates have it: without a scope, and without the dot of a name that is complete.
std::string certificate_host(const std::string& host) {
  std::string name = host.substr(0, host.find('%'));
  if (name.size() > 1 && name.back() == '.') name.pop_back();
  return name;
}

}  // namespace

TlsStream::TlsStream(EventLoop& loop, std::unique_ptr<ByteStream> below,
                     std::shared_ptr<const TlsMaterial> material, const std::string& host)
    : material_(std::move(material)),
      name_(certificate_host(material_->server_name().empty() ? host : material_->server_name())),
      below_(std::move(below)),
      output_(*below_),
      timer_(loop.make_timer(*this)),
      plaintext_(std::make_unique_for_overwrite<std::uint8_t[]>(kReadBuffer)) {
  const OpensslUse openssl;
  session_.reset(SSL_new(material_->context()));
  if (session_ == nullptr) throw std::bad_alloc();
  BIO* const bio = BIO_new(bio_method());
  if (bio == nullptr) throw std::bad_alloc();
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(session_.get(), bio, bio);
  SSL_set_app_data(session_.get(), this);
  SSL_set_connect_state(session_.get());
  SSL_set_verify(session_.get(), SSL_VERIFY_PEER, verify);
  SSL_set_cert_cb(session_.get(), certificate_wanted, this);
  expect_name();
}

TlsStream::~TlsStream() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  const OpensslUse openssl;
  session_.reset();
}

void TlsStream::expect_name() {
  X509_VERIFY_PARAM* const expected = SSL_get0_param(session_.get());
  // What stands in the subject was never meant to be a host.
  X509_VERIFY_PARAM_set_hostflags(
      expected, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (X509_VERIFY_PARAM_set1_ip_asc(expected, name_.c_str()) == 1) return;
  if (X509_VERIFY_PARAM_set1_host(expected, name_.data(), name_.size()) != 1)
    throw std::bad_alloc();
  // Refused for what is too long to be a host, which is for the look-up to say.
  SSL_set_tlsext_host_name(session_.get(), name_.c_str());
}

void TlsStream::open(ByteStream::Handler& handler) {
  handler_ = &handler;
  below_->open(*this);
}

// ---- What OpenSSL calls -------------------------------------------------------------------------

const BIO_METHOD* TlsStream::bio_method() {
  // Never freed, as nothing is that a thread may use while the process ends.
  static BIO_METHOD* const method = [] {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gcs");
    if (made == nullptr) throw std::bad_alloc();
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_ctrl(
        made, [](BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1L : 0L; });
    return made;
  }();
  return method;
}

int TlsStream::bio_read(BIO* bio, char* out, int size) {
  TlsStream& self = *static_cast<TlsStream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (self.input_.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t part = std::min(self.input_.size(), static_cast<std::size_t>(size));
  std::memcpy(out, self.input_.data(), part);
  self.input_ = self.input_.subspan(part);
  return static_cast<int>(part);
}

int TlsStream::bio_write(BIO* bio, const char* data, int size) {
  TlsStream& self = *static_cast<TlsStream*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto count = static_cast<std::size_t>(size);
  try {
    if (self.output_.size() + count > kOutputCap) {
      self.broken_ = "the peer asks for answers and does not read them";
      return -1;
    }
    self.output_.append({reinterpret_cast<const std::uint8_t*>(data), count});
  } catch (const std::bad_alloc&) {
    return -1;
  }
  return size;
}

int TlsStream::verify(int ok, X509_STORE_CTX* verification) {
  if (ok == 1) return 1;
  auto* const session = static_cast<SSL*>(
      X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto& self = *static_cast<TlsStream*>(SSL_get_app_data(session));
  try {
    self.certificate_failure_ =
        verification_failure(verification, self.name_, self.material_->authorities());
  } catch (const std::bad_alloc&) {
    // The handshake fails all the same, with OpenSSL's words.
  }
  return 0;
}

int TlsStream::certificate_wanted(SSL*, void* self) {
  static_cast<TlsStream*>(self)->certificate_wanted_ = true;
  return 1;
}

// ---- Receiving ----------------------------------------------------------------------------------

void TlsStream::on_open() noexcept {
  below_open_ = true;
  go_on();
}

void TlsStream::on_received(std::span<const std::uint8_t> bytes) noexcept {
  if (handler_ == nullptr) return;
  try {
    if (!check_first_bytes(bytes)) return;
  } catch (const std::bad_alloc&) {
    fail(ConnectionError::Kind::kTls, {});
    return;
  }
  input_ = bytes;
  go_on();
}

// False if the peer does not speak TLS, and the handler was told.
bool TlsStream::check_first_bytes(std::span<const std::uint8_t> bytes) {
  if (heard_) return true;
  heard_ = true;
  const bool may_be_tls = bytes[0] >= kFirstRecordType && bytes[0] <= kLastRecordType &&
                          (bytes.size() < 2 || bytes[1] == kMajorVersion);
  if (may_be_tls) return true;
  FirstBytes first;
  fail(ConnectionError::Kind::kTls, first.take(bytes) == FirstBytes::Verdict::kHttp2
                                        ? "the peer speaks HTTP/2 without TLS, and this connection "
                                          "is to use TLS"
                                        : "the peer does not speak TLS; is this the right port?");
  return false;
}

void TlsStream::go_on() noexcept {
  const OpensslUse openssl;
  if (!shaken_) {
    if (!shake_hands(openssl)) return;
    shaken_ = true;
    if (!tell([](ByteStream::Handler& handler) { handler.on_open(); })) return;
  }
  hand_over();
}

// True when the handshake has ended well.
bool TlsStream::shake_hands(const OpensslUse& openssl) noexcept {
  const int result = SSL_do_handshake(session_.get());
  const int kind = result == 1 ? SSL_ERROR_NONE : SSL_get_error(session_.get(), result);
  const unsigned long error = ERR_peek_last_error();
  const bool memory = kind == SSL_ERROR_SSL && openssl.failed_without_memory();
  output_.flush();
  if (kind == SSL_ERROR_WANT_READ) return false;
  try {
    if (kind == SSL_ERROR_ZERO_RETURN || kind == SSL_ERROR_SYSCALL) {
      lost({ConnectionError::Kind::kEndOfFile, "the peer closed the connection"});
    } else if (memory) {
      material_->doubt();
      fail(ConnectionError::Kind::kLost, "out of memory");
    } else if (kind != SSL_ERROR_NONE) {
      fail(ConnectionError::Kind::kTls, handshake_failed(error));
    } else {
      const unsigned char* protocol = nullptr;
      unsigned length = 0;
      SSL_get0_alpn_selected(session_.get(), &protocol, &length);
      if (length != 0) return true;
      fail(ConnectionError::Kind::kTls,
           "the peer speaks TLS, but did not choose HTTP/2 (ALPN); is this the right port?");
    }
  } catch (const std::bad_alloc&) {
    fail(ConnectionError::Kind::kTls, {});
  }
  return false;
}

// Gives the handler what the records held.
void TlsStream::hand_over() noexcept {
  for (;;) {
    std::size_t filled = 0;
    int kind = SSL_ERROR_NONE;
    unsigned long error = 0;
    while (filled < kReadBuffer && kind == SSL_ERROR_NONE) {
      std::size_t got = 0;
      const int result =
          SSL_read_ex(session_.get(), plaintext_.get() + filled, kReadBuffer - filled, &got);
      filled += got;
      if (result == 1) continue;
      kind = SSL_get_error(session_.get(), result);
      error = ERR_peek_last_error();
    }
    output_.flush();
    if (filled > 0) {
      received_ = true;
      const std::span<const std::uint8_t> bytes(plaintext_.get(), filled);
      if (!tell([bytes](ByteStream::Handler& handler) { handler.on_received(bytes); })) return;
    }
    if (kind == SSL_ERROR_WANT_READ) return;
    if (kind != SSL_ERROR_NONE) {
      read_failed(kind, error);
      return;
    }
  }
}

void TlsStream::read_failed(int kind, unsigned long error) noexcept {
  try {
    if (kind == SSL_ERROR_ZERO_RETURN) {
      lost({ConnectionError::Kind::kEndOfFile, "the peer closed the connection"});
    } else if (kind != SSL_ERROR_SSL) {
      fail(ConnectionError::Kind::kLost, broken_.empty() ? "out of memory" : broken_);
    } else if (!received_) {
      fail(ConnectionError::Kind::kTls, handshake_failed(error));
    } else if (const int alert = alert_of(error); alert >= 0) {
      fail(ConnectionError::Kind::kLost,
           "the peer ended the connection with the TLS alert \"" + alert_text(alert) + "\"");
    } else {
      fail(ConnectionError::Kind::kLost,
           "the peer sent bytes that break the rules of TLS: " + openssl_reason(error));
    }
  } catch (const std::bad_alloc&) {
    fail(ConnectionError::Kind::kLost, {});
  }
}

void TlsStream::pause_reading(std::int64_t nanoseconds) noexcept {
  below_->pause_reading(nanoseconds);
}

// ---- Sending ------------------------------------------------------------------------------------

std::size_t TlsStream::write(std::span<const iovec> pieces) noexcept {
  if (!shaken_ || handler_ == nullptr || !broken_.empty()) return 0;
  const OpensslUse openssl;
  TlsPieces rest(pieces);
  const std::size_t offered = rest.left();
  while (!output_.blocked() && rest.left() > 0) {
    while (rest.left() > 0 && output_.size() < kBatch) {
      const std::size_t before = rest.left();
      if (!encrypt(rest.take(record_))) {
        break_soon();
        return offered - before;
      }
    }
    output_.flush();
  }
  if (rest.left() > 0) blocked_ = true;
  return offered - rest.left();
}

// Appends a record to the output.
bool TlsStream::encrypt(std::span<const std::uint8_t> record) noexcept {
  try {
    output_.reserve_record();
  } catch (const std::bad_alloc&) {
    return false;
  }
  std::size_t written = 0;
  if (SSL_write_ex(session_.get(), record.data(), record.size(), &written) != 1 ||
      written != record.size()) {
    return false;
  }
  output_.add_record(record.size());
  return true;
}

void TlsStream::on_writable() noexcept {
  if (handler_ == nullptr) return;
  output_.unblock();
  output_.flush();
  if (output_.blocked() || !std::exchange(blocked_, false)) return;
  tell([](ByteStream::Handler& handler) { handler.on_writable(); });
}

void TlsStream::break_soon() noexcept {
  try {
    if (broken_.empty()) broken_ = "out of memory";
    timer_->set(0);
  } catch (const std::bad_alloc&) {
    // What the stream below reports next is passed on.
  }
}

void TlsStream::run() noexcept {
  fail(ConnectionError::Kind::kLost, std::move(broken_));
}

// ---- Failing ------------------------------------------------------------------------------------

std::string TlsStream::waiting_for() const {
  if (!below_open_) return below_->waiting_for();
  return heard_ ? "the peer did not finish the TLS handshake"
                : "the peer accepted the connection but said nothing to the TLS handshake";
}

void TlsStream::on_failed(const ConnectionError& error) noexcept {
  if (handler_ == nullptr) return;
  const OpensslUse openssl;
  try {
    lost(error);
  } catch (const std::bad_alloc&) {
    fail(error.kind, {});
  }
}

// The connection is gone. Some servers say nothing else to a client whose certificate they refuse.
void TlsStream::lost(const ConnectionError& error) {
  if (!below_open_ || received_) {
    fail(error.kind, error.message);
    return;
  }
  if (certificate_wanted_ &&
      (!material_->has_own_certificate() || !material_->own_problem().empty())) {
    fail(ConnectionError::Kind::kTls, refusal("it closed the connection"));
    return;
  }
  std::string message = error.message;
  if (certificate_wanted_) {
    message =
        "after it was shown " + material_->own_name() + ", which it may not trust, " + message;
  }
  if (!shaken_) message += " during the TLS handshake";
  fail(error.kind, std::move(message));
}

std::string TlsStream::handshake_failed(unsigned long error) const {
  if (!certificate_failure_.empty()) return certificate_failure_;
  const int alert = alert_of(error);
  if (alert == SSL_AD_HANDSHAKE_FAILURE && certificate_wanted_ &&
      !material_->has_own_certificate()) {
    return refusal(alert_text(alert));
  }
  return is_about_certificate(alert) ? refusal(alert_text(alert)) : handshake_failure(error);
}

// That the peer refuses our certificate, or does not do without.
std::string TlsStream::refusal(const std::string& reason) const {
  if (!material_->has_own_certificate()) {
    return "the server wants a client certificate, and none was given (" + reason + ")";
  }
  const std::string problem = material_->own_problem();
  return "the server refuses " + material_->own_name() +
         (problem.empty() ? ": " + reason : ", which " + problem + " (" + reason + ")");
}

void TlsStream::fail(ConnectionError::Kind kind, std::string message) noexcept {
  ByteStream::Handler* const handler = std::exchange(handler_, nullptr);
  if (handler == nullptr) return;
  input_ = {};
  if (kind == ConnectionError::Kind::kTls) material_->doubt();
  const ConnectionError error{kind, std::move(message)};
  handler->on_failed(error);
}

template <class Call>
bool TlsStream::tell(Call&& call) noexcept {
  bool destroyed = false;
  destroyed_ = &destroyed;
  call(*handler_);
  if (destroyed) return false;
  destroyed_ = nullptr;
  return true;
}

}  // namespace gcs::transport
