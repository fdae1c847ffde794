// SPDX-License-Identifier: Apache-2.0
//
// Names out of a certificate are the peer's words: they are shortened, and hold no control
// characters.
#include "transport/tls_text.h"

#include <openssl/sslerr.h>
#include <openssl/tls1.h>

#include <array>
#include <cstdio>
#include <ctime>
#include <string_view>

namespace gcs::transport {
namespace {

constexpr std::size_t kLongestName = 200;
constexpr int kMostNames = 8;

std::string printable(std::string_view text) {
  std::string out(text.substr(0, kLongestName));
  for (char& c : out) {
    if (c < ' ' || c > '~') c = '?';
  }
  if (text.size() > kLongestName) out += "...";
  return out;
}

std::string name_text(const X509_NAME* name) {
  const OpensslBio out(BIO_new(BIO_s_mem()));
  if (out == nullptr || name == nullptr) return {};
  X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253);
  const char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  if (size <= 0) return "without a name";
  return printable({data, static_cast<std::size_t>(size)});
}

std::string time_text(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable date";
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02d-%02d %02d:%02d:%02d UTC", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  return text.data();
}

std::string ip_text(const ASN1_OCTET_STRING* address) {
  const unsigned char* bytes = ASN1_STRING_get0_data(address);
  std::array<char, 64> text{};
  if (ASN1_STRING_length(address) == 4) {
    std::snprintf(text.data(), text.size(), "%d.%d.%d.%d", bytes[0], bytes[1], bytes[2], bytes[3]);
    return text.data();
  }
  std::string out;
  for (int i = 0; i + 1 < ASN1_STRING_length(address); i += 2) {
    std::snprintf(text.data(), text.size(), "%s%x", i == 0 ? "" : ":",
                  bytes[i] << 8 | bytes[i + 1]);
    out += text.data();
  }
  return out;
}

// Empty for a name that is neither a host's nor an IP address.
std::string general_name_text(const GENERAL_NAME* name) {
  int type = 0;
  const void* const value = GENERAL_NAME_get0_value(name, &type);
  if (type == GEN_IPADD) return ip_text(static_cast<const ASN1_OCTET_STRING*>(value));
  if (type != GEN_DNS) return {};
  const auto* const text = static_cast<const ASN1_IA5STRING*>(value);
  return printable({reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                    static_cast<std::size_t>(ASN1_STRING_length(text))});
}

// The hosts that the certificate is for.
std::string subject_names(const X509* certificate) {
  const OpensslNames names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string out;
  int more = 0;
  int shown = 0;
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const std::string text = general_name_text(sk_GENERAL_NAME_value(names.get(), i));
    if (text.empty()) continue;
    if (shown == kMostNames) {
      ++more;
      continue;
    }
    if (shown++ > 0) out += ", ";
    out += text;
  }
  if (more > 0) out += " and " + std::to_string(more) + " more";
  return out;
}

std::string wrong_host(const X509* certificate, const std::string& expected) {
  const std::string names = subject_names(certificate);
  std::string text = "the server's certificate " + certificate_name(certificate);
  text += names.empty() ? " names no host (it has no subjectAltName)" : " is for " + names;
  return text + ", and not for " + expected;
}

std::string lower_first(std::string text) {
  const auto is_upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  if (text.size() > 1 && is_upper(text[0]) && !is_upper(text[1])) {
    text[0] = static_cast<char>(text[0] - 'A' + 'a');
  }
  return text;
}

}  // namespace

std::string certificate_name(const X509* certificate) {
  return name_text(X509_get_subject_name(certificate));
}

std::string validity_problem(const X509* certificate) {
  const ASN1_TIME* const from = X509_get0_notBefore(certificate);
  const ASN1_TIME* const until = X509_get0_notAfter(certificate);
  if (X509_cmp_current_time(until) <= 0) return "expired on " + time_text(until);
  if (X509_cmp_current_time(from) >= 0) return "is not valid before " + time_text(from);
  return {};
}

std::string openssl_reason(unsigned long error) {
  const char* const reason = ERR_reason_error_string(error);
  return reason == nullptr ? "error " + std::to_string(error) + " of OpenSSL" : lower_first(reason);
}

std::string verification_failure(X509_STORE_CTX* verification, const std::string& expected,
                                 const std::string& authorities) {
  const int error = X509_STORE_CTX_get_error(verification);
  const X509* const certificate = X509_STORE_CTX_get_current_cert(verification);
  const std::string reason = lower_first(X509_verify_cert_error_string(error));
  if (certificate == nullptr) return "the server's certificate was not accepted: " + reason;
  std::string which = X509_STORE_CTX_get_error_depth(verification) == 0
                          ? "the server's certificate "
                          : "the authority's certificate ";
  which += certificate_name(certificate);
  switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID: {
      const std::string problem = validity_problem(certificate);
      return which + ' ' + (problem.empty() ? reason : problem);
    }
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return wrong_host(certificate, expected);
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return which + ", issued by " + name_text(X509_get_issuer_name(certificate)) +
             ", was not signed by " + authorities + " (" + reason + ")";
    default:
      return which + " was not accepted: " + reason;
  }
}

int alert_of(unsigned long error) noexcept {
  if (ERR_GET_LIB(error) != ERR_LIB_SSL) return -1;
  const int alert = ERR_GET_REASON(error) - SSL_AD_REASON_OFFSET;
  return alert >= 0 && alert <= 255 ? alert : -1;
}

bool is_about_certificate(int alert) noexcept {
  switch (alert) {
    case TLS1_AD_ACCESS_DENIED:
    case TLS1_AD_DECRYPT_ERROR:
    case TLS1_AD_UNKNOWN_CA:
    case TLS13_AD_CERTIFICATE_REQUIRED:
    case SSL3_AD_BAD_CERTIFICATE:
    case SSL3_AD_CERTIFICATE_EXPIRED:
    case SSL3_AD_CERTIFICATE_REVOKED:
    case SSL3_AD_CERTIFICATE_UNKNOWN:
    case SSL3_AD_NO_CERTIFICATE:
    case SSL3_AD_UNSUPPORTED_CERTIFICATE:
      return true;
    default:
      return false;
  }
}

std::string alert_text(int alert) {
  // Newer than the table of OpenSSL's that the next line reads.
  if (alert == TLS13_AD_CERTIFICATE_REQUIRED) return "certificate required";
  return SSL_alert_desc_string_long(alert);
}

std::string handshake_failure(unsigned long error) {
  if (const int alert = alert_of(error); alert >= 0) {
    switch (alert) {
      case TLS1_AD_PROTOCOL_VERSION:
        return "the peer speaks neither TLS 1.2 nor TLS 1.3";
      case TLS1_AD_NO_APPLICATION_PROTOCOL:
        return "the peer does not speak HTTP/2 over TLS; is this the right port?";
      case TLS1_AD_UNRECOGNIZED_NAME:
        return "the peer does not know the name that it was asked for";
      default:
        return "the peer ended the TLS handshake with the alert \"" + alert_text(alert) + "\"";
    }
  }
  switch (ERR_GET_REASON(error)) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
      return "the peer speaks neither TLS 1.2 nor TLS 1.3";
    default:
      return "the TLS handshake failed: " + openssl_reason(error);
  }
}

}  // namespace gcs::transport
