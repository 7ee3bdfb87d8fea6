"""Kernels that draw mazes: throws of dice by (key, draw, item), free cells by number, and one loop over mazes for each distribution.

Item `first + k` is maze k; what it becomes depends on (key, item) and the distribution's parameters alone. Kernels fill `Mazes`
(`maze_levels`) without walls in place: walls `[K, n, n]` bool, goal, start and heading `[K]` int64.
"""

import numpy as np
from numba import njit

from interplay.envs import dice
from interplay.envs.rule import rule


@njit(cache=True, nogil=True)
def mixed(seed, label):
    """The key of one use of a seed's dice for levels; the label is a 32-bit number."""
    return dice.philox(dice.stream_key(seed, dice.META), label, dice.META)


@rule
def roll(key, draw, item, n):
    """A whole number in [0, n) for throw `draw` of level `item` (bias at most n / 2**32)."""
    return np.int64((dice.philox(key, draw, item) * np.uint64(n)) >> dice.HALF)


@rule
def free_cell(cells, but, number):
    """The free cell of that number, counted from 0; `but` (-1: none) does not count."""
    for cell in range(cells.shape[0]):
        if not cells[cell] and cell != but:
            if number == 0:
                return cell
            number -= 1
    return -1


@rule
def count_free(cells):
    """How many cells are free."""
    free = 0
    for cell in range(cells.shape[0]):
        free += 0 if cells[cell] else 1
    return free


@rule
def place(cells, key, draw, item, mazes, k):
    """Agent, goal and heading of maze k at random, by throws `draw ... draw + 2`."""
    free = count_free(cells)
    mazes.start[k] = free_cell(cells, -1, roll(key, draw, item, free))
    mazes.goal[k] = free_cell(cells, mazes.start[k], roll(key, draw + 1, item, free - 1))
    mazes.heading[k] = roll(key, draw + 2, item, 4)


@njit(cache=True, nogil=True)
def fill_clutter(key, first, walls, varied, replace, mazes):
    """Walls on random cells; `varied`: their number is uniform in 0 ... walls."""
    n = mazes.walls.shape[1] * mazes.walls.shape[2]
    for k in range(mazes.goal.shape[0]):
        item, cells, draw, blocks = first + k, mazes.walls[k].reshape(n), 0, walls
        if varied:
            blocks, draw = roll(key, 0, item, walls + 1), 1
        for j in range(n - blocks, n):
            if replace:
                cells[roll(key, draw, item, n)] = True
            else:  # a uniform subset without rejections (R. Floyd, CACM 1987)
                cell = roll(key, draw, item, j + 1)
                cells[j if cells[cell] else cell] = True
            draw += 1
        place(cells, key, draw, item, mazes, k)


@rule
def root(parent, room):
    """The room that stands for all that are joined with this one."""
    while parent[room] != room:
        parent[room] = parent[parent[room]]
        room = parent[room]
    return room


@rule
def spanning_tree(walls, key, item, parent, edges):
    """Kruskal's tree of the rooms for a random order of the walls between them; returns the number of throws."""
    m, joined, draw = (walls.shape[0] + 1) // 2, 0, 0
    across = m * (m - 1)  # walls with a room on their left and right; as many have one above and below
    walls[:] = True
    walls[::2, ::2] = False
    for room in range(parent.shape[0]):
        parent[room] = room
    for e in range(edges.shape[0]):
        edges[e] = e
    while joined < m * m - 1:
        other = draw + roll(key, draw, item, edges.shape[0] - draw)  # the shuffle goes only as far as it is needed
        edge = edges[other]
        edges[other] = edges[draw]
        draw += 1
        if edge < across:
            row, column, down, right = edge // (m - 1), edge % (m - 1), 0, 1
        else:
            row, column, down, right = (edge - across) // m, (edge - across) % m, 1, 0
        one, two = root(parent, row * m + column), root(parent, (row + down) * m + column + right)
        if one != two:
            parent[one] = two
            walls[2 * row + down, 2 * column + right] = False
            joined += 1
    return draw


@njit(cache=True, nogil=True)
def fill_perfect(key, first, corners, mazes):
    """Spanning trees; `corners`: start and goal are two different corners."""
    n = mazes.walls.shape[1]
    m = (n + 1) // 2
    parent, edges = np.empty(m * m, np.int64), np.empty(2 * m * (m - 1), np.int64)
    for k in range(mazes.goal.shape[0]):
        item = first + k
        draw = spanning_tree(mazes.walls[k], key, item, parent, edges)
        place(mazes.walls[k].reshape(n * n), key, draw, item, mazes, k)
        if corners:
            one = roll(key, draw, item, 4)
            two = (one + 1 + roll(key, draw + 1, item, 3)) % 4
            mazes.start[k] = (n - 1) * (one // 2 * n + one % 2)
            mazes.goal[k] = (n - 1) * (two // 2 * n + two % 2)


@njit(cache=True, nogil=True)
def fill_rooms(key, first, mazes):
    """Two walls that cross in the middle, each with a door on either side."""
    n = mazes.walls.shape[1]
    middle = n // 2
    for k in range(mazes.goal.shape[0]):
        walls, item = mazes.walls[k], first + k
        walls[middle, :] = True
        walls[:, middle] = True
        for half in range(2):
            side = half * (middle + 1)
            walls[middle, side + roll(key, 2 * half, item, middle)] = False
            walls[side + roll(key, 2 * half + 1, item, middle), middle] = False
        place(walls.reshape(n * n), key, 4, item, mazes, k)


@rule
def choose_rivers(rivers, count, key, item):
    """Mark `count` of the odd rows (`rivers[0]`) and columns (`rivers[1]`), all subsets alike (R. Floyd, CACM 1987)."""
    half = rivers.shape[1] // 2
    rivers[:] = False
    for j in range(2 * half - count, 2 * half):
        river = roll(key, 2 * half - 1 - j, item, j + 1)
        if rivers[river // half, 2 * (river % half) + 1]:
            river = j
        rivers[river // half, 2 * (river % half) + 1] = True


@rule
def last_before(river, cell):
    """The last cell of a row or column before the next river, from `cell` on."""
    while cell + 1 < river.shape[0] and not river[cell + 1]:
        cell += 1
    return cell


@rule
def open_path(walls, rivers, count, key, draw, item):
    """Cross the rivers on a random path to the right and down, all orders alike, each at a random cell of the room before it."""
    top, left, down = 0, 0, 0
    for row in range(rivers.shape[1]):
        down += 1 if rivers[0, row] else 0
    for ahead in range(count, 0, -1):
        bottom, end = last_before(rivers[0], top), last_before(rivers[1], left)
        if roll(key, draw, item, ahead) < down:
            walls[bottom + 1, left + roll(key, draw + 1, item, end - left + 1)] = False
            top, down = bottom + 2, down - 1
        else:
            walls[top + roll(key, draw + 1, item, bottom - top + 1), end + 1] = False
            left = end + 2
        draw += 2


@njit(cache=True, nogil=True)
def fill_crossings(key, first, count, mazes):
    """Rivers with one gap each, from corner to corner."""
    n = mazes.walls.shape[1]
    rivers = np.empty((2, n), np.bool_)
    for k in range(mazes.goal.shape[0]):
        walls, item = mazes.walls[k], first + k
        choose_rivers(rivers, count, key, item)
        for cell in range(n):
            if rivers[0, cell]:
                walls[cell, :] = True
            if rivers[1, cell]:
                walls[:, cell] = True
        open_path(walls, rivers, count, key, count, item)
        mazes.goal[k] = n * n - 1
