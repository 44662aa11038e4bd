// The one family of exceptions every part of Retrace throws.
#pragma once
#include <stdexcept>
#include <string>

namespace retrace {

// Something failed; the message is one line that says what was found and what was expected.
// The command line turns it into exit code 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The caller asked for something that does not exist or make sense (an unknown option, model, method …).
// The command line turns it into exit code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

// An allocation could not be served.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

}  // namespace retrace
