// Polynomials over GF(2), as far as a repository's configuration needs them. docs/formats/restic.md.
#pragma once

#include <cstdint>

namespace respaldo::chunk {

// Bit i is the coefficient of x^i.
using Polynomial = std::uint64_t;

// Ben-Or's test. Degree 1 to 62.
bool is_irreducible(Polynomial p);

// An irreducible polynomial of degree 53 made from random bits; absent (0) when these bits give none: try
// others.
Polynomial polynomial_from(std::uint64_t random);

}  // namespace respaldo::chunk
