// SPDX-License-Identifier: Apache-2.0
//
// What TLS connections of one client are made with: the authorities that are trusted, and the
// certificate that is shown, out of PEM files.
//
// Invariants:
// - TLS 1.2 or newer, HTTP/2 by ALPN, the peer's certificate is always verified.
// - The files are read whole before anything of them is used. A file that has changed is read again
//   for the next connection; what cannot be used then leaves everything as it was.
// - After a handshake that has failed they are read again, too: where OpenSSL lacks memory while it
//   makes a context, or first looks at a certificate, it may note in them that they are of no use,
//   and never look again.
// - A private key stays in memory and in its file: no text of ours has any of it. A key with a
//   passphrase is refused, never asked for.
// - The environment, which names the system's authorities, is read by load() alone.
// - OpenSSL is told to leave the process's end to itself, where we are the first to use it: its
//   clean-up would pull the ground from under a thread that still runs.
//
// Threads: load() on any; then whoever has the loop's turn. A TlsMaterial never changes, but for
// the doubt about it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "transport/openssl.h"

namespace gcs::transport {

struct TlsSettings {
  std::string ca_file;      // empty: the system's authorities
  std::string cert_file;    // empty: no certificate is shown
  std::string key_file;     // of cert_file
  std::string server_name;  // the name that the peer's certificate is to have; empty: the host's
};

// What one reading of the files gave.
class TlsMaterial {
 public:
  TlsMaterial(OpensslContext context, TlsSettings settings)
      : context_(std::move(context)), settings_(std::move(settings)) {}
  ~TlsMaterial() {
    const OpensslUse openssl;
    context_.reset();
  }
  TlsMaterial(const TlsMaterial&) = delete;
  TlsMaterial& operator=(const TlsMaterial&) = delete;

  SSL_CTX* context() const noexcept { return context_.get(); }
  const std::string& server_name() const noexcept { return settings_.server_name; }
  // "an authority in /etc/ca.pem", as it stands behind "was not signed by".
  std::string authorities() const;

  bool has_own_certificate() const noexcept { return own_certificate() != nullptr; }
  // "the client certificate CN=client (/etc/cert.pem)"
  std::string own_name() const;
  // "expired on ...", "is not valid before ..."; empty when it is valid now.
  std::string own_problem() const;

  // A handshake has failed, for which this may be to blame.
  void doubt() const noexcept { doubtful_ = true; }
  bool is_doubtful() const noexcept { return doubtful_; }

 private:
  X509* own_certificate() const noexcept { return SSL_CTX_get0_certificate(context_.get()); }

  OpensslContext context_;
  const TlsSettings settings_;
  mutable bool doubtful_ = false;
};

class TlsContext {
 public:
  // Null, and the reason in *error, which names the file. Throws std::bad_alloc.
  static std::unique_ptr<TlsContext> load(TlsSettings settings, std::string* error);

  // For the next connection.
  std::shared_ptr<const TlsMaterial> current() noexcept;
  // Why the files, which have changed, could not be used by it; empty when they could.
  const std::string& problem() const noexcept { return problem_; }

 private:
  // Tells one state of a file from another.
  struct FileState {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t size = 0;
    std::int64_t changed = 0;
    bool operator==(const FileState&) const = default;
  };
  using FileStates = std::array<FileState, 3>;

  explicit TlsContext(TlsSettings settings) : settings_(std::move(settings)) {}
  FileStates states_of_files() const noexcept;
  // Throws TlsLoadError and std::bad_alloc, and then has changed nothing.
  void read_files(const FileStates& states);

  const TlsSettings settings_;
  // Where the system's authorities are.
  std::string system_file_;
  std::string system_folder_;
  FileStates states_{};
  std::shared_ptr<const TlsMaterial> material_;
  std::string problem_;
};

}  // namespace gcs::transport
