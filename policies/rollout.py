"""Play: worlds and a player make a trajectory."""

from typing import Any

import torch
from torch import Tensor

from interplay.envs.core import Env
from interplay.policies.player import Player
from interplay.policies.trajectory import Trajectory


def rollout(env: Env, player: Player, turns: int, draw: int, carry: Tensor | None) -> tuple[Trajectory, Tensor | None]:
    """T turns from where the worlds stand. A player who has a method `imagine` is asked for targets before each action is played.

    Args:
        env: N worlds, showing their present state.
        player: acts in all seats.
        turns: T.
        draw: number of the first turn in the worlds' random streams; turn t uses `draw + t`.
        carry: the player's recurrent state `[N, A, hidden]`, or None.

    Returns:
        The trajectory, and the recurrent state after it.
    """
    shown, asked = env.out, env.spec
    rows: dict[str, Any] = {}
    for name, like in {"obs": shown.obs, "reward": shown.reward, "terminated": shown.terminated, "truncated": shown.truncated}.items():
        rows[name] = torch.empty(turns, *like.shape, dtype=like.dtype, device=env.device)
    for name, needed in {"legal": asked.masks, "acting": asked.turns, "alive": asked.leaves}.items():
        if needed:
            like = getattr(shown, name)
            rows[name] = torch.empty(turns, *like.shape, dtype=like.dtype, device=env.device)
    actions, logps, targets, values, final_at, final_obs = [], [], [], [], [], []
    imagine = getattr(player, "imagine", None)
    before = None if carry is None else carry.clone()
    for t in range(turns):
        rows["obs"][t].copy_(shown.obs)
        for name in ("legal", "acting", "alive"):
            if name in rows:
                rows[name][t].copy_(getattr(shown, name))
        remembered = carry
        action, logp, carry = player.act(env, shown, carry, draw + t)
        if getattr(player, "judged", None) is not None:
            values.append(player.judged)  # type: ignore[attr-defined]
        if imagine:
            targets.append(imagine(env, action, remembered, carry, draw + t))
        shown = env.step(action)
        for name in ("reward", "terminated", "truncated"):
            rows[name][t].copy_(getattr(shown, name))
        actions.append(action)
        logps.append(logp)
        cut = shown.truncated.nonzero()  # waits for a GPU; on the CPU it is free
        if len(cut):
            final_at.append(torch.cat([torch.full_like(cut, t), cut], 1))
            final_obs.append(shown.final_obs[cut[:, 0]])
        if carry is not None:
            carry = carry * ~(shown.terminated | shown.truncated).view(-1, 1, 1)
    none = torch.zeros(0, 2, dtype=torch.int64, device=env.device)
    trajectory = Trajectory(
        action=torch.stack(actions),
        logp=torch.stack(logps),
        last_obs=shown.obs.clone(),
        final_at=torch.cat(final_at) if final_at else none,
        final_obs=torch.cat(final_obs) if final_obs else shown.final_obs[:0].clone(),
        target=torch.stack(targets) if targets and targets[0] is not None else None,
        value=torch.stack(values) if values else None,
        carry=before,
        draw=draw,
        **rows,
    )
    return trajectory, carry
