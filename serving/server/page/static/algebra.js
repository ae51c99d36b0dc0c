// The little linear algebra that the page needs, on arrays of arrays.

/** A plain loop: this is what takes the time. */
export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
export const add = (a, b, scale = 1) => a.map((value, i) => value + scale * b[i]);
export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** x of A x = b, A symmetric and positive definite (Cholesky); neither is changed. */
export function solve(A, b) {
  const n = b.length;
  const L = A.map((row) => Float64Array.from(row));
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = A[i][j];
      for (let k = 0; k < j; k++) sum -= L[i][k] * L[j][k];
      L[i][j] = i === j ? Math.sqrt(Math.max(sum, 1e-12)) : sum / L[j][j];
    }
  }
  const x = Array.from(b);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i] -= L[i][k] * x[k];
    x[i] /= L[i][i];
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i] -= L[k][i] * x[k];
    x[i] /= L[i][i];
  }
  return x;
}

/** The products of all pairs of rows: R Rᵀ. */
export function gram(rows) {
  const products = rows.map(() => new Float64Array(rows.length));
  rows.forEach((row, i) => {
    for (let j = 0; j <= i; j++) products[i][j] = products[j][i] = dot(row, rows[j]);
  });
  return products;
}

/** Transposed. */
export const columns = (rows) => rows[0].map((_, i) => rows.map((row) => row[i]));

/**
 * Ridge regression of each target on the inputs, both centred.
 *
 * `inputs` are N rows of Z numbers, `targets` N rows of K. Returns K rows of Z coefficients, and
 * for each target the share of its variance that they explain on rows that they were not fitted to
 * (five folds): 1 is all of it, 0 or less is nothing.
 */
export function regress(inputs, targets, weight) {
  const all = inputs.map((_, i) => i);
  const fitted = (rows) => {
    const centred = (of) => columns(of).map((column) => {
      const middle = mean(rows.map((i) => column[i]));
      return { middle, values: rows.map((i) => column[i] - middle) };
    });
    const [x, y] = [centred(inputs), centred(targets)];
    const products = gram(x.map((one) => one.values));
    products.forEach((row, i) => (row[i] += weight));
    const rowsOf = y.map(({ values }) => solve(products, x.map((one) => dot(one.values, values))));
    const predict = (i) => rowsOf.map((row, k) =>
      y[k].middle + dot(row, inputs[i].map((value, j) => value - x[j].middle)));
    return { rows: rowsOf, predict };
  };
  const FOLDS = 5;
  const errors = targets[0].map(() => 0);
  for (let fold = 0; fold < FOLDS; fold++) {
    const { predict } = fitted(all.filter((i) => i % FOLDS !== fold));
    for (const i of all.filter((one) => one % FOLDS === fold)) {
      predict(i).forEach((value, k) => (errors[k] += (value - targets[i][k]) ** 2));
    }
  }
  const explained = columns(targets).map((column, k) => {
    const middle = mean(column);
    return 1 - errors[k] / column.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  });
  return { rows: fitted(all).rows, explained };
}

/** Steps that change one measurement and leave the others: D with B D = 1 (least norm). */
export function apart(rows) {
  const products = gram(rows);
  products.forEach((row, i) => (row[i] += 1e-9 + 1e-6 * row[i]));
  return rows.map((_, k) => {
    const weights = solve(products, rows.map((_, i) => (i === k ? 1 : 0)));
    return rows[0].map((_, j) => dot(weights, rows.map((row) => row[j])));
  });
}
