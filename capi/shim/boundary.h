// SPDX-License-Identifier: Apache-2.0
//
// The one wrapper around the body of every exported function: no exception crosses into C. The
// unwinding of a thread that ends or is cancelled (abi::__forced_unwind) is no exception and
// passes. A thread can be cancelled where it waits for events, and nowhere else.
//
// A callback of the application is never called inside a body, since it may end its thread: a
// function that has to call one does so after guarded() has returned.
#pragma once

#include <cxxabi.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "client/cancellation.h"
#include "client/event.h"
#include "client/status.h"
#include "client/text.h"
#include "gcs_capi.h"
#include "shim/objects.h"

namespace gcs::shim {

inline Refusal refuse(Status status, std::string message) {
  return {status, kFlagLocal, std::move(message)};
}

inline Refusal refuse_argument(std::string message) {
  return refuse(Status::kInvalidArgument, std::move(message));
}

// What a failed system call means to the caller. By number: Asio has a category of its own, which
// knows few of the portable conditions.
inline Refusal refusal_of(const std::system_error& error) {
  switch (error.code().value()) {
    case ENOMEM:
      return refuse(Status::kNoMemory, error.what());
    case EAGAIN:
    case EMFILE:
    case ENFILE:
      return {Status::kUnavailable, kFlagLocal | kFlagRetryable, explain(error)};
    default:
      return refuse(Status::kInternal, error.what());
  }
}

// Runs `body`, which returns a Refusal, and turns what it throws into one.
//
// A forced unwinding has no object, so that UndefinedBehaviorSanitizer would take the handler's
// reference for a null one.
template <class Body>
__attribute__((no_sanitize("undefined"))) Refusal caught(Body&& body) {
  try {
    try {
      return body();
    } catch (const std::system_error& error) {
      return refusal_of(error);
    } catch (const std::bad_alloc&) {
      return {Status::kNoMemory, kFlagLocal, {}};
    } catch (const std::exception& error) {
      return refuse(Status::kInternal, error.what());
    }
  } catch (abi::__forced_unwind&) {
    throw;
  } catch (const std::bad_alloc&) {
    return {Status::kNoMemory, kFlagLocal, {}};
  } catch (...) {
    return {Status::kInternal, kFlagLocal, {}};
  }
}

// For a function that waits, where its thread may be cancelled. `body` returns a Status.
template <class Body>
gcs_status guarded_wait(Body&& body) {
  return c_status(caught([&body]() -> Refusal { return {body(), 0, {}}; }).status);
}

// For a function without an out_error. `body` returns a Status.
template <class Body>
gcs_status guarded(Body&& body) {
  const CancellationDisabled uncancelled;
  return guarded_wait(body);
}

// For a function with one. `body` returns a Refusal. Without memory for the error the status goes
// alone.
template <class Body>
gcs_status guarded(gcs_error** out_error, Body&& body) {
  const CancellationDisabled uncancelled;
  if (out_error != nullptr) *out_error = nullptr;
  Refusal refusal = caught(body);
  const Status status = refusal.status;
  if (refusal && out_error != nullptr) {
    caught([&]() -> Refusal {
      auto error = std::make_unique<Event>(EventKind::kCall);
      error->fail(status, refusal.flags, std::move(refusal.message), {});
      *out_error = error_to_c(std::move(error));
      return {};
    });
  }
  return c_status(status);
}

// For a function that returns something else: `otherwise` stands for any failure.
template <class Value, class Body>
Value guarded_value(Value otherwise, Body&& body) {
  const CancellationDisabled uncancelled;
  Value value = otherwise;
  const Refusal refusal = caught([&]() -> Refusal {
    value = body();
    return {};
  });
  return refusal ? otherwise : value;
}

}  // namespace gcs::shim
