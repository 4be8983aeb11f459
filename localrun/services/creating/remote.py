"""Remote models in recipes: what a recipe may not state if an engine elsewhere answers.

SYSTEM, MESSAGE, LICENSE and the parameters of sampling hold, since they are part of each request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.modelfile.recipe import Recipe
    from localrun.services.creating.create import CreateOptions
    from localrun.services.creating.parts import ModelParts
    from localrun.services.recipes import StoredRecipe

LOADING = (  # parameters of a load, which the engine has done already
    "num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "flash_attention",
    "kv_cache_type", "rope_frequency_base", "rope_frequency_scale", "rope_scaling",
    "yarn_orig_ctx", "yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow",
    "num_keep", "overflow",
)  # fmt: skip
WHY = "FROM names an engine elsewhere, which has loaded its model"


def refuse_instructions(recipe: Recipe) -> None:
    """Refuse instructions that need the weights.

    Raises:
        UsageError: the recipe has one.
    """
    stated = {
        "ADAPTER": recipe.adapters,
        "DRAFT": recipe.draft,
        "TEMPLATE": recipe.template,
        "RENDERER": recipe.renderer,
        "PARSER": recipe.parser,
    }
    for instruction, value in stated.items():
        if value:
            raise UsageError(f"{instruction} has no effect on a remote model: {WHY}")


def refuse_parts_of_remote(parts: ModelParts, merged: StoredRecipe, options: CreateOptions) -> None:
    """Refuse parameters and options that need the weights.

    Raises:
        UsageError: there is one; the error names it.
    """
    if parts.remote is None:
        return
    if options.quantize is not None or options.draft_quantize is not None:
        raise UsageError(f"--quantize needs weights: {WHY}")
    if options.facts:
        raise UsageError(f"info cannot be checked: {WHY}", param="info")
    name = next((name for name, _ in merged.parameters if name in LOADING), None)
    if name is not None:
        raise UsageError(
            f"PARAMETER {name} has no effect on a remote model: {WHY}",
            hint="leave it out; set it where the engine starts",
        )
