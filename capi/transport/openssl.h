// SPDX-License-Identifier: Apache-2.0
//
// OpenSSL's objects as owners, and its queue of errors kept to ourselves.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>

namespace gcs::transport {

template <auto kFree>
struct OpensslDelete {
  template <class T>
  void operator()(T* object) const noexcept {
    kFree(object);
  }
};
template <class T, auto kFree>
using OpensslOwner = std::unique_ptr<T, OpensslDelete<kFree>>;

using OpensslBio = OpensslOwner<BIO, BIO_free>;
using OpensslKey = OpensslOwner<EVP_PKEY, EVP_PKEY_free>;
using OpensslContext = OpensslOwner<SSL_CTX, SSL_CTX_free>;
using OpensslSession = OpensslOwner<SSL, SSL_free>;
using OpensslCertificate = OpensslOwner<X509, X509_free>;
using OpensslNames = OpensslOwner<GENERAL_NAMES, GENERAL_NAMES_free>;

// The queue belongs to the thread, which may be one of the application's with a TLS connection of
// its own: what is left in it would be taken for that connection's error, and the other way round.
class OpensslErrors {
 public:
  OpensslErrors() noexcept { ERR_clear_error(); }
  ~OpensslErrors() { ERR_clear_error(); }
  OpensslErrors(const OpensslErrors&) = delete;
  OpensslErrors& operator=(const OpensslErrors&) = delete;

  unsigned long last() const noexcept { return ERR_peek_last_error(); }
};

}  // namespace gcs::transport
