// SPDX-License-Identifier: Apache-2.0
//
// Files are read by ourselves and parsed from memory, so that an error has the system's reason, the
// descriptor is close-on-exec, and a FIFO in a file's place hangs nobody.
#include "transport/tls_context.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "transport/descriptor.h"
#include "transport/system_error.h"
#include "transport/tls_text.h"

namespace gcs::transport {
namespace {

constexpr std::size_t kLargestFile = std::size_t{16} << 20;
constexpr std::size_t kLongestServerName = 255;  // SNI's limit
// The length is that of the protocol's name, as ALPN wants it.
constexpr unsigned char kAlpn[] = {2, 'h', '2'};

// Leaves this file only as a text.
struct TlsLoadError {
  std::string text;
};

template <class T>
T* checked(T* object) {
  if (object == nullptr) throw std::bad_alloc();
  return object;
}

[[noreturn]] void refuse(const std::string& what, const std::string& file,
                         const std::string& reason) {
  throw TlsLoadError{what + ' ' + file + ' ' + reason};
}

// What was read is wiped: it may have been a key.
class FileText {
 public:
  FileText(const std::string& what, const std::string& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) refuse_unreadable(what, path);
    for (;;) {
      if (text_.size() == used_) grow(what, path);
      const ssize_t got = ::read(file.get(), text_.data() + used_, text_.size() - used_);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) refuse_unreadable(what, path);
      if (got == 0) break;
      used_ += static_cast<std::size_t>(got);
    }
  }
  FileText(const FileText&) = delete;
  FileText& operator=(const FileText&) = delete;
  ~FileText() { OPENSSL_cleanse(text_.data(), text_.size()); }

  bool contains(std::string_view words) const noexcept {
    return std::string_view(text_.data(), used_).find(words) != std::string_view::npos;
  }
  // Lends the text.
  OpensslBio bio() const {
    return OpensslBio(checked(BIO_new_mem_buf(text_.data(), static_cast<int>(used_))));
  }

 private:
  [[noreturn]] static void refuse_unreadable(const std::string& what, const std::string& path) {
    refuse(what, path, "cannot be read: " + system_error_text(errno));
  }
  void grow(const std::string& what, const std::string& path) {
    if (text_.size() >= kLargestFile) refuse(what, path, "is too large");
    std::vector<char> larger(text_.empty() ? std::size_t{16} << 10 : text_.size() * 2);
    std::copy(text_.begin(), text_.end(), larger.begin());
    OPENSSL_cleanse(text_.data(), text_.size());
    text_.swap(larger);
  }

  std::vector<char> text_;
  std::size_t used_ = 0;
};

// Asked when a key is encrypted. OpenSSL's own would ask at the terminal.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

OpensslCertificate next_certificate(BIO* in) {
  OpensslCertificate read(PEM_read_bio_X509(in, nullptr, no_passphrase, nullptr));
  if (read == nullptr) return read;
  // Without memory for its key it is a certificate without one, or with a key that is worth
  // nothing, and there is no error. A copy is decoded afresh.
  EVP_PKEY* const key = X509_get0_pubkey(read.get());
  if (key == nullptr || EVP_PKEY_get_security_bits(key) <= 0)
    read.reset(checked(X509_dup(read.get())));
  return read;
}

// What OpenSSL has just refused, unless it was for want of memory. `what` and `problem` as above.
[[noreturn]] void refuse_for_openssl(const OpensslUse& openssl, const std::string& what,
                                     const std::string& file, const std::string& problem) {
  const unsigned long error = openssl.last_error();
  if (openssl.failed_without_memory()) throw std::bad_alloc();
  refuse(what, file, problem + ": " + openssl_reason(error));
}

// Whether the text has ended, after a read that gave nothing, or holds something broken.
bool at_end(const OpensslUse& openssl) {
  const unsigned long error = openssl.last_error();
  return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

OpensslContext new_context(const OpensslUse& openssl) {
  OpensslContext context(checked(SSL_CTX_new(TLS_client_method())));
  // The machine's own policy may ask for more.
  const long minimum = SSL_CTX_get_min_proto_version(context.get());
  if (minimum < TLS1_2_VERSION) SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  if (SSL_CTX_set_alpn_protos(context.get(), kAlpn, sizeof kAlpn) != 0) throw std::bad_alloc();
  // It may lack something all the same.
  if (openssl.lacked_memory()) throw std::bad_alloc();
  return context;
}

void trust_file(SSL_CTX* context, const std::string& path) {
  static const std::string kWhat = "the CA file";
  const OpensslUse openssl;
  const FileText text(kWhat, path);
  const OpensslBio in = text.bio();
  X509_STORE* const store = SSL_CTX_get_cert_store(context);
  std::size_t count = 0;
  while (const OpensslCertificate certificate = next_certificate(in.get())) {
    if (X509_STORE_add_cert(store, certificate.get()) != 1) throw std::bad_alloc();
    ++count;
  }
  if (!at_end(openssl)) {
    refuse_for_openssl(openssl, kWhat, path, "has a certificate that is broken");
  }
  if (count == 0) refuse(kWhat, path, "has no certificate in PEM form");
  // Whatever the file holds is trusted, be it an authority that others have signed.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
}

// As OpenSSL does by default: what is not there is left out.
void trust_system(SSL_CTX* context, const std::string& file, const std::string& folder) {
  const OpensslUse openssl;
  SSL_CTX_load_verify_file(context, file.c_str());
  SSL_CTX_load_verify_dir(context, folder.c_str());
  if (openssl.lacked_memory()) throw std::bad_alloc();
}

std::string variable_or(const char* name, const char* otherwise) {
  const char* const value = ::secure_getenv(name);
  return value == nullptr ? otherwise : value;
}

void show_certificates(SSL_CTX* context, const std::string& path) {
  static const std::string kWhat = "the certificate file";
  const OpensslUse openssl;
  const FileText text(kWhat, path);
  const OpensslBio in = text.bio();
  const OpensslCertificate own = next_certificate(in.get());
  if (own == nullptr) {
    if (at_end(openssl)) refuse(kWhat, path, "has no certificate in PEM form");
    refuse_for_openssl(openssl, kWhat, path, "has a certificate that is broken");
  }
  if (SSL_CTX_use_certificate(context, own.get()) != 1) {
    refuse_for_openssl(openssl, kWhat, path, "cannot be used");
  }
  while (const OpensslCertificate above = next_certificate(in.get())) {
    if (SSL_CTX_add1_chain_cert(context, above.get()) != 1) {
      refuse_for_openssl(openssl, kWhat, path, "cannot be used");
    }
  }
  if (!at_end(openssl)) {
    refuse_for_openssl(openssl, kWhat, path, "has a certificate that is broken");
  }
}

void use_key(SSL_CTX* context, const std::string& path, const std::string& cert_path) {
  static const std::string kWhat = "the key file";
  const OpensslUse openssl;
  const FileText text(kWhat, path);
  const OpensslBio in = text.bio();
  bool encrypted = false;
  const auto note_encryption = [](char*, int, int, void* seen) {
    *static_cast<bool*>(seen) = true;
    return -1;
  };
  const OpensslKey key(PEM_read_bio_PrivateKey(in.get(), nullptr, note_encryption, &encrypted));
  if (encrypted) refuse(kWhat, path, "is encrypted; give one without a passphrase");
  if (key == nullptr) {
    if (openssl.failed_without_memory()) throw std::bad_alloc();
    refuse(kWhat, path,
           text.contains("PRIVATE KEY-----") ? "has a private key that cannot be read"
                                             : "has no private key in PEM form");
  }
  if (X509_check_private_key(SSL_CTX_get0_certificate(context), key.get()) != 1) {
    if (openssl.failed_without_memory()) throw std::bad_alloc();
    refuse(kWhat, path, "does not belong to the certificate in " + cert_path);
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    refuse_for_openssl(openssl, kWhat, path, "cannot be used");
  }
}

std::string complaint_about(const TlsSettings& settings) {
  if (settings.cert_file.empty() && !settings.key_file.empty()) {
    return "the key file " + settings.key_file + " was given without a certificate";
  }
  if (settings.key_file.empty() && !settings.cert_file.empty()) {
    return "the certificate file " + settings.cert_file + " was given without its key";
  }
  if (settings.server_name.size() > kLongestServerName) {
    return "the server name for TLS is longer than a host name can be";
  }
  return {};
}

}  // namespace

std::string TlsMaterial::authorities() const {
  return settings_.ca_file.empty() ? "an authority that this system trusts (no CA file was given)"
                                   : "an authority in " + settings_.ca_file;
}

std::string TlsMaterial::own_name() const {
  const X509* const own = own_certificate();
  if (own == nullptr) return {};
  return "the client certificate " + certificate_name(own) + " (" + settings_.cert_file + ")";
}

std::string TlsMaterial::own_problem() const {
  const X509* const own = own_certificate();
  return own == nullptr ? std::string() : validity_problem(own);
}

std::unique_ptr<TlsContext> TlsContext::load(TlsSettings settings, std::string* error) {
  if (!begin_using_openssl()) {
    *error =
        "OpenSSL has been cleaned up, as it is when the process ends, or could not be initialized";
    return nullptr;
  }
  *error = complaint_about(settings);
  if (!error->empty()) return nullptr;
  std::unique_ptr<TlsContext> context(new TlsContext(std::move(settings)));
  context->system_file_ =
      variable_or(X509_get_default_cert_file_env(), X509_get_default_cert_file());
  context->system_folder_ =
      variable_or(X509_get_default_cert_dir_env(), X509_get_default_cert_dir());
  try {
    context->read_files(context->states_of_files());
  } catch (TlsLoadError& refusal) {
    *error = std::move(refusal.text);
    return nullptr;
  }
  return context;
}

std::shared_ptr<const TlsMaterial> TlsContext::current() noexcept {
  try {
    // Before they are read: what changes meanwhile is seen the next time.
    const FileStates states = states_of_files();
    if (states != states_ || material_->is_doubtful()) read_files(states);
    problem_.clear();
  } catch (TlsLoadError& error) {
    // Half of a rotation, perhaps; the next connection looks again.
    problem_ = std::move(error.text);
  } catch (const std::bad_alloc&) {
  }
  return material_;
}

TlsContext::FileStates TlsContext::states_of_files() const noexcept {
  FileStates states;
  std::size_t index = 0;
  for (const std::string* path : {&settings_.ca_file, &settings_.cert_file, &settings_.key_file}) {
    FileState& state = states[index++];
    struct stat seen {};
    if (path->empty() || ::stat(path->c_str(), &seen) != 0) continue;
    state = {seen.st_dev, seen.st_ino, seen.st_size,
             std::int64_t{seen.st_mtim.tv_sec} * 1'000'000'000 + seen.st_mtim.tv_nsec};
  }
  return states;
}

void TlsContext::read_files(const FileStates& states) {
  const OpensslUse openssl;
  OpensslContext context = new_context(openssl);
  if (!settings_.ca_file.empty()) {
    trust_file(context.get(), settings_.ca_file);
  } else if (material_ != nullptr && !material_->is_doubtful()) {
    SSL_CTX_set1_cert_store(context.get(), SSL_CTX_get_cert_store(material_->context()));
  } else {
    trust_system(context.get(), system_file_, system_folder_);
  }
  if (!settings_.cert_file.empty()) {
    show_certificates(context.get(), settings_.cert_file);
    use_key(context.get(), settings_.key_file, settings_.cert_file);
  }
  material_ = std::make_shared<const TlsMaterial>(std::move(context), settings_);
  states_ = states;
}

}  // namespace gcs::transport
