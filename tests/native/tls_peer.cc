// SPDX-License-Identifier: Apache-2.0
//
// What cannot fail here but for want of memory aborts.
#include "tls_peer.h"

#include <openssl/ec.h>
#include <openssl/pem.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace gcs::test {
namespace {

using transport::OpensslBio;
using transport::OpensslUse;

void must(bool done) {
  if (done) return;
  ERR_print_errors_fp(stderr);
  std::abort();
}

std::string text_of(BIO* bio) {
  const char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(size));
}

void add_extension(X509* certificate, X509* issuer, int number, const std::string& value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, number, value.c_str());
  must(extension != nullptr);
  must(X509_add_ext(certificate, extension, -1) == 1);
  X509_EXTENSION_free(extension);
}

int choose_http2(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* offered,
                 unsigned offered_size, void*) {
  static constexpr std::string_view kHttp2 = "h2";
  for (unsigned at = 0; at + 1 + offered[at] <= offered_size; at += 1u + offered[at]) {
    const std::string_view name(reinterpret_cast<const char*>(offered + at + 1), offered[at]);
    if (name != kHttp2) continue;
    *out = offered + at + 1;
    *size = offered[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

Identity::Identity(const CertificateOptions& options, const Identity* issuer)
    : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
  must(key_ != nullptr && certificate_ != nullptr);
  static long serial = 0;
  X509* const certificate = certificate_.get();
  X509* const signed_by = issuer == nullptr ? certificate : issuer->certificate();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), static_cast<long>(options.valid_from));
  X509_gmtime_adj(X509_getm_notAfter(certificate), static_cast<long>(options.valid_until));
  X509_set_pubkey(certificate, key_.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(options.common_name.c_str()),
                             -1, -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(signed_by));
  if (options.is_authority) {
    add_extension(certificate, signed_by, NID_basic_constraints, "critical,CA:TRUE");
  } else if (!options.subject_names.empty()) {
    add_extension(certificate, signed_by, NID_subject_alt_name, options.subject_names);
  }
  EVP_PKEY* const signing_key = issuer == nullptr ? key_.get() : issuer->key();
  must(X509_sign(certificate, signing_key, EVP_sha256()) > 0);
}

std::string Identity::certificate_pem() const {
  const OpensslBio out(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509(out.get(), certificate_.get()) == 1);
  return text_of(out.get());
}

std::string Identity::key_pem(const std::string& passphrase) const {
  const OpensslBio out(BIO_new(BIO_s_mem()));
  const auto* const phrase = reinterpret_cast<const unsigned char*>(passphrase.c_str());
  must(PEM_write_bio_PrivateKey(out.get(), key_.get(),
                                passphrase.empty() ? nullptr : EVP_aes_256_cbc(), phrase,
                                static_cast<int>(passphrase.size()), nullptr, nullptr) == 1);
  return text_of(out.get());
}

ServerTls::ServerTls(const Options& options) : context_(SSL_CTX_new(TLS_server_method())) {
  SSL_CTX* const context = context_.get();
  must(SSL_CTX_use_certificate(context, options.identity->certificate()) == 1);
  must(SSL_CTX_use_PrivateKey(context, options.identity->key()) == 1);
  if (options.newest_version != 0) {
    SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context, options.newest_version);
  }
  if (options.speaks_http2) SSL_CTX_set_alpn_select_cb(context, choose_http2, nullptr);
  if (options.client_authority != nullptr) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), options.client_authority->certificate());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  session_.reset(SSL_new(context));
  must(session_ != nullptr);
  SSL_set_bio(session_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_accept_state(session_.get());
}

bool ServerTls::take(std::string_view ciphertext) {
  const OpensslUse openssl;
  if (!ciphertext.empty()) {
    BIO_write(SSL_get_rbio(session_.get()), ciphertext.data(), static_cast<int>(ciphertext.size()));
  }
  if (!shaken_) {
    const int result = SSL_do_handshake(session_.get());
    if (result != 1) return SSL_get_error(session_.get(), result) == SSL_ERROR_WANT_READ;
    shaken_ = true;
  }
  std::array<char, 16384> buffer;
  for (;;) {
    const int size = SSL_read(session_.get(), buffer.data(), static_cast<int>(buffer.size()));
    if (size <= 0) return SSL_get_error(session_.get(), size) == SSL_ERROR_WANT_READ;
    plaintext.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

bool ServerTls::write(std::string_view bytes) {
  const OpensslUse openssl;
  if (!shaken_) return false;
  return bytes.empty() || SSL_write(session_.get(), bytes.data(), static_cast<int>(bytes.size())) ==
                              static_cast<int>(bytes.size());
}

void ServerTls::send_close_notify() {
  const OpensslUse openssl;
  SSL_shutdown(session_.get());
}

std::string ServerTls::output() {
  std::string out;
  std::array<char, 16384> buffer;
  for (;;) {
    const int size =
        BIO_read(SSL_get_wbio(session_.get()), buffer.data(), static_cast<int>(buffer.size()));
    if (size <= 0) return out;
    out.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

std::string ServerTls::server_name() const {
  const char* const name = SSL_get_servername(session_.get(), TLSEXT_NAMETYPE_host_name);
  return name == nullptr ? std::string() : name;
}

}  // namespace gcs::test
