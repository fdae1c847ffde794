// SPDX-License-Identifier: Apache-2.0
//
// OpenSSL's objects as owners, and what goes for every use of it.
//
// Threads: any.
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

// Before anything else, once per process; more often does nothing. False when OpenSSL is being
// cleaned up, which the end of the process does, or could not be initialized: it must not be used.
bool begin_using_openssl();

// While a thread is inside OpenSSL; may be nested.
//
// The end of the process waits for it, and no other begins then: OpenSSL's own clean-up, which the
// application may have registered, takes away what the thread stands on. A fork waits, too:
// OpenSSL's locks would stay taken in the child, where the thread is not. And the queue of errors
// belongs to the thread, which may be one of the application's with a TLS connection of its own:
// what is left in it would be taken for that connection's error, and the other way round.
class OpensslUse {
 public:
  OpensslUse() noexcept;
  ~OpensslUse();
  OpensslUse(const OpensslUse&) = delete;
  OpensslUse& operator=(const OpensslUse&) = delete;

  unsigned long last_error() const noexcept { return ERR_peek_last_error(); }
  // Whether memory has been lacking since the queue of errors was empty, which it is again after
  // this. What lacked it says so deep inside; the last error may be anything.
  bool lacked_memory() const noexcept;
  // The same of something that has failed: without memory there may be no error to be found.
  bool failed_without_memory() const noexcept { return last_error() == 0 || lacked_memory(); }
};

}  // namespace gcs::transport
