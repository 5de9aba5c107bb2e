#include "chunk/polynomial.h"

#include <bit>

namespace respaldo::chunk {

namespace {

int degree(Polynomial p) { return static_cast<int>(std::bit_width(p)) - 1; }

Polynomial modulo(Polynomial a, Polynomial m) {
  for (int shift = degree(a) - degree(m); shift >= 0; shift = degree(a) - degree(m)) a ^= m << shift;
  return a;
}

// a * a mod m; the degree of m is at most 62.
Polynomial square(Polynomial a, Polynomial m) {
  Polynomial result = 0, term = modulo(a, m);
  for (Polynomial bits = a; bits != 0; bits >>= 1) {
    if (bits & 1) result ^= term;
    term <<= 1;
    if (degree(term) >= degree(m)) term ^= m;
  }
  return modulo(result, m);
}

Polynomial gcd(Polynomial a, Polynomial b) {
  while (b != 0) {
    const Polynomial rest = modulo(a, b);
    a = b;
    b = rest;
  }
  return a;
}

}  // namespace

bool is_irreducible(Polynomial p) {
  const int n = degree(p);
  if (n < 1 || n > 62) return false;
  Polynomial power = 2;  // x^(2^i) mod p
  for (int i = 1; i <= n / 2; ++i) {
    power = square(modulo(power, p), p);
    if (gcd(p, power ^ 2) != 1) return false;
  }
  return true;
}

Polynomial polynomial_from(std::uint64_t random) {
  constexpr Polynomial kTop = Polynomial{1} << 53;
  const Polynomial p = (random & (kTop - 1)) | kTop | 1;
  return is_irreducible(p) ? p : 0;
}

}  // namespace respaldo::chunk
