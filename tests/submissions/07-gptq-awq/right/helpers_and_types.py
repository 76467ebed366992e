"""Small typed helpers, and the course's own grids.
"""

# %% nbgrader={"grade": false, "grade_id": "effective-bits", "locked": false, "schema_version": 3, "solution": true, "task": false}
import math


def bits_of_ruler(bits: int, scale_bits: int, zero_bits: int | None) -> int:
    return scale_bits + (bits if zero_bits is None else zero_bits)


def effective_bits(bits, group_size, columns, scale_bits=16, zero_bits=None):
    groups = sum(1 for _ in grids.groups(columns, group_size))
    return math.fsum([bits, groups * bits_of_ruler(bits, scale_bits, zero_bits) / columns])


# %% nbgrader={"grade": false, "grade_id": "hessian", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Hessian:
    def __init__(self, columns: int) -> None:
        self.mean = torch.zeros(columns, columns, dtype=torch.float32)
        self.tokens = 0

    def add(self, x: torch.Tensor) -> None:
        rows = x.reshape(-1, self.mean.shape[0]).to(torch.float32)
        tokens = self.tokens + rows.shape[0]
        if tokens == 0:
            return
        # As in the authors' code: shrink the mean, and scale the new rows by the root of their share.
        self.mean *= self.tokens / tokens
        rows = rows * (1 / tokens) ** 0.5
        self.mean.addmm_(rows.t(), rows)
        self.tokens = tokens

    @property
    def value(self) -> torch.Tensor:
        return self.mean


# %% nbgrader={"grade": false, "grade_id": "output-error", "locked": false, "schema_version": 3, "solution": true, "task": false}
def quadratic(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    return torch.einsum("ri,ij,rj->r", rows, matrix, rows)


def output_error(error, hessian):
    return quadratic(error, hessian).sum().item()


# %% nbgrader={"grade": false, "grade_id": "inverse-factor", "locked": false, "schema_version": 3, "solution": true, "task": false}
def damped(hessian: torch.Tensor, damp: float) -> torch.Tensor:
    mean = torch.diag(hessian).mean()
    result = hessian.clone()
    index = torch.arange(len(hessian))
    result[index, index] += damp * mean
    dead = torch.diag(hessian) == 0
    result[dead, :] = 0
    result[:, dead] = 0
    result[index[dead], index[dead]] = 7.0
    return result


def inverse_factor(hessian, damp=0.01):
    if not bool(torch.isfinite(hessian).all()):
        raise ValueError("NaN or infinite")
    matrix = damped(hessian, damp)
    if torch.linalg.cholesky_ex(matrix).info.item():
        raise ValueError("not positive definite")
    try:
        return torch.linalg.cholesky(torch.linalg.inv(matrix), upper=True)
    except RuntimeError as error:
        raise ValueError(str(error)) from error


# %% nbgrader={"grade": false, "grade_id": "gptq", "locked": false, "schema_version": 3, "solution": true, "task": false}
def grids_by_column(weight: torch.Tensor, bits: int, group_size: int | None) -> list[grids.Grid]:
    found = []
    for part in weight.split(group_size or weight.shape[1], dim=1):
        found += [grids.fit(part, bits)] * part.shape[1]
    return found


def one_block(block: torch.Tensor, factor: torch.Tensor, own: list[grids.Grid]) -> tuple[torch.Tensor, torch.Tensor]:
    block, rounded, errors = block.clone(), torch.zeros_like(block), torch.zeros_like(block)
    for i, grid in enumerate(own):
        rounded[:, i] = grid.round(block[:, i : i + 1]).squeeze(1)
        errors[:, i] = (block[:, i] - rounded[:, i]) / factor[i, i]
        block -= torch.outer(errors[:, i], factor[i])  # the columns before i get zeros of U
    return rounded, errors


def gptq(weight, factor, bits, group_size=None, block_size=128):
    if torch.count_nonzero(torch.tril(factor, diagonal=-1)).item():
        raise ValueError("no upper factor")
    rest, own, rounded = weight.clone(), grids_by_column(weight, bits, group_size), []
    for start in range(0, weight.shape[1], block_size):
        here, behind = slice(start, start + block_size), slice(start + block_size, None)
        values, errors = one_block(rest[:, here], factor[here, here], own[here])
        rest[:, behind] -= errors @ factor[here, behind]
        rounded.append(values)
    return torch.cat(rounded, dim=1)
