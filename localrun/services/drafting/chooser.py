"""Choice of the draft model for each load of a server.

    1  the request       `run --draft`, or `draft` in a request
    2  the server's flag `serve --draft`
    3  the recipe        DRAFT
    4  LOCALRUN_DRAFT
    5  the catalog       if the draft model that it names is in the store

"auto" at 1 and 2 means what follows from 3 and 5. What the store has is looked up at each load, so
that a draft model which is pulled or removed meanwhile counts from the next load on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, UsageError
from localrun.services.drafting.known import KnownDrafts
from localrun.services.drafting.named import draft_problem, named_draft
from localrun.settings import AUTO, NONE
from localrun.supervisor.draft_choice import NO_DRAFT, DraftChoice, recipe_draft

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.registry.catalog import Catalog, CatalogEntry
    from localrun.services.stored_model import StoredModel
    from localrun.settings import Settings
    from localrun.supervisor.model import RunnerModel

VARIABLE = "LOCALRUN_DRAFT"
SWITCHED_OFF = "switched off"


class DraftChooser:
    """Draft models of one server; safe from any thread.

    ``open_catalog`` is called at the first choice that needs the catalog.
    """

    def __init__(
        self,
        find_model: Callable[[str], StoredModel],
        open_catalog: Callable[[], Catalog],
        settings: Settings,
    ) -> None:
        self._find_model = find_model
        self._known = KnownDrafts(find_model, open_catalog)
        self._name = settings.draft
        self._is_flag = settings.source_of(VARIABLE).startswith("flag")

    def choose(self, model: RunnerModel) -> DraftChoice:
        """Return the draft model for a load; the reason says why there is none."""
        if model.draft_rule == NONE:
            return DraftChoice(source="request", reason=SWITCHED_OFF)
        is_automatic = AUTO in {model.draft_rule, self._name}
        if model.draft_source == "request":
            return recipe_draft(model)  # it was checked
        if self._is_flag and not is_automatic:
            return self._by_setting(model)
        if model.draft:
            return _by_recipe(model)
        return self._found(model) if is_automatic else self._by_setting(model)

    def with_draft(self, order: RunnerModel, name: str | None) -> RunnerModel:
        """Return what to load for a request that names a draft model, "auto" or "none".

        Raises:
            LocalrunError: there is no such model, or it cannot draft tokens for this one.
        """
        if name is None:  # the recipe's counts for nothing if the flag names another one
            return replace(order, draft=()) if self._is_flag and self._name != AUTO else order
        if name.lower() == self._name == AUTO:
            return order
        if name.lower() in {AUTO, NONE}:
            rule = name.lower()
            return replace(order, draft_rule=rule, draft=order.draft if rule == AUTO else ())
        try:
            draft = named_draft(self._find_model, name, order.shards)
        except OSError as error:
            raise UsageError(f"{name} cannot draft tokens: {error.strerror}") from error
        return replace(
            order, draft=draft.shards, draft_name=draft.name, draft_source="request", draft_rule=""
        )

    def choose_unpulled(self, name: str, size_bytes: int, draft: str | None) -> DraftChoice:
        """Return the draft model of a model that is not here, whose tokens cannot be compared.

        ``draft`` is what the user names, "auto" or "none"; None is the server's setting.

        Raises:
            ModelNotFoundError: the user names a model that is not here.
            IntegrityError: the store is damaged.
        """
        chosen, source = draft or self._name, "request" if draft else "default"
        if chosen.lower() == NONE:
            return DraftChoice(source=source, reason=SWITCHED_OFF)
        if chosen.lower() == AUTO:
            entry = self._known.entry_for(name, None, size_bytes)
            return NO_DRAFT if entry is None else self._stored_choice(entry)
        found = self._find_model(chosen)
        return DraftChoice(name=found.name, paths=found.shards, source=source)

    def _stored_choice(self, entry: CatalogEntry) -> DraftChoice:
        """Return the choice of an entry of the catalog, refused if it is not in the store."""
        name = f"{entry.name}:{entry.tag}"
        stored_name = self._known.stored_name(entry)
        if stored_name is None:
            reason = f"localrun pull {name}   gets it: it drafts tokens"
            return DraftChoice(name=name, source="catalog", reason=reason)
        found = self._find_model(stored_name)
        return DraftChoice(name=found.name, paths=found.shards, source="catalog")

    def _by_setting(self, model: RunnerModel) -> DraftChoice:
        if self._name == NONE:
            return DraftChoice(reason=SWITCHED_OFF)
        try:
            draft = named_draft(self._find_model, self._name, model.shards)
        except (LocalrunError, OSError) as error:
            return DraftChoice(name=self._name, reason=str(error))
        return DraftChoice(name=draft.name, paths=draft.shards)

    def _found(self, model: RunnerModel) -> DraftChoice:
        try:
            return self._from_catalog(model)
        except (LocalrunError, OSError) as error:  # the model is loaded without a draft model
            return DraftChoice(source="catalog", reason=str(error))

    def _from_catalog(self, model: RunnerModel) -> DraftChoice:
        entry = self._known.entry_for(model.name, model.origin, model.size_bytes)
        if entry is None:
            return NO_DRAFT
        choice = self._stored_choice(entry)
        try:
            if choice.paths:
                named_draft(self._find_model, choice.name, model.shards)
        except UsageError as error:
            return choice.refused(error.message)
        return choice


def _by_recipe(model: RunnerModel) -> DraftChoice:
    """Return the recipe's draft model, refused if it cannot draft tokens for the model."""
    choice = recipe_draft(model)
    try:
        problem = draft_problem(model.shards, model.draft)
    except (LocalrunError, OSError) as error:
        problem = str(error)
    return choice.refused(problem) if problem else choice
