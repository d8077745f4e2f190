"""The reference: items are priced, step by step, in exact decimals."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar, get_args

from assay.errors import ConfigurationError, PricingError
from assay.money import EXACT, exact_decimal, has_minor_units, minor_units, round_to, split
from assay.pricing.moments import Window, intersection, known_instant, local_day, read_moment, shown_instant
from assay.pricing.receipt import RESIDUE_PLACES, DocumentReceipt, Line, Receipt, TaxLine
from assay.pricing.terms import TOO_FINE, TOO_LARGE, UNROUNDED_PLACES, LineKind, Terms
from assay.pricing.values import Column

if TYPE_CHECKING:
    from assay.pricing.step import Step

Exact = Decimal | Fraction

L = TypeVar("L")
R = TypeVar("R")

NAMES = frozenset({"document_id", "line_id"})
"""Inputs that only tell things apart."""

TURNED = {"line": 1, "charge": 1, "allowance": -1, "credit": -1}
"""The sign of a row by its line_kind."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What a step has to say about its amount.

    Attributes:
        what: In words, the same for each item; begins with % where the rate is a percentage.
        quantity: What the rate is applied to: units, or an amount.
        rate: Price, percentage or exchange rate that was applied.
        tier: Number of the tier, from 1.
        rule: The rule inside the step, if that has several: its id and its kind.
        counts: Whether the line adds to the total.
    """

    what: str
    quantity: Decimal | None = None
    rate: Decimal | None = None
    tier: int | None = None
    rule: tuple[str, str] | None = None
    counts: bool = True


class Rating:
    """One item while it is being priced. Steps read their values from it and add to it.

    Its methods have the names of `BatchRating`, which does the same for columns. Amounts that steps hand over are
    exact; they are rounded here, once, to the digits of the currency that the item is in at that point.

    Attributes:
        terms: What all steps share.
        currency: Of the amounts, at this point.
        base: Sum of the charges.
        discount: Sum of the discounts.
        net: base - discount.
        tax: Sum of the taxes, without those retained.
        retained: Sum of the retained taxes.
        prepaid: Paid by credits.
        rounding: Added by rounding what is to pay.
        allowance: The part of the discount that concerns the whole document.
        surcharge: The part of the base that concerns the whole document.
        taxes: Each tax.
        kind: What the row is.
        turned: -1 where the row's kind turns the sign (an allowance, a credit), else 1.
        continues: Whether earlier bills of the period had units, of which some may be free; known after `units`.
        sign: -1 where amounts are negative: `turned`, and once more for a negative quantity.
    """

    def __init__(self, terms: Terms, inputs: Mapping[str, object]) -> None:
        self.terms = terms
        self._inputs = dict(inputs)
        self._at_home: dict[str, str] = {}
        self._price_ids: list[str] = []
        self._window: Window = (None, None)
        self.currency = self._own_currency()
        zero = Decimal(0)
        self.base = self.discount = self.net = self.tax = self.retained = zero
        self.prepaid = self.rounding = self.allowance = self.surcharge = zero
        self.taxes: list[TaxLine] = []
        self.fx_rate: Decimal | None = None
        self.fx_date: dt.date | None = None
        self._lines: list[Line] = []
        self._step: Step
        self._limit = Decimal(10) ** terms.whole_digits
        self._units: tuple[Decimal, Decimal] | None = None
        self.continues = False
        self.kind = self._line_kind()
        self.turned = TURNED[self.kind]
        quantity = self.optional("quantity", None)
        if quantity is not None and quantity < 0 and terms.negative == "reject":
            raise PricingError(f"quantity: {quantity} is negative, and the book rejects that")
        self.sign = self.turned * (-1 if quantity is not None and quantity < 0 else 1)

    def begin(self, step: Step) -> None:
        """Name the step under way: its rounding counts, and errors name it."""
        self._step = step

    # What steps read

    def has(self, name: str) -> bool:
        """Whether the item brings this input."""
        return self._inputs.get(name) is not None

    def input(self, name: str) -> Decimal:
        """The input of that name.

        Raises:
            PricingError: It is None.
            ConfigurationError: It is a float or no number.
        """
        value = self._inputs[name]
        if value is None:
            raise self.error(f"{name} is null")
        return self._number(name, value)

    def optional(self, name: str, default: Decimal | None) -> Decimal | None:
        """The input of that name, or the default where the item does not bring it."""
        value = self._inputs.get(name)
        return default if value is None else self._number(name, value)

    def text(self, name: str) -> str | None:
        """The input of that name, a string; what names a document or a line may be a whole number.

        Raises:
            ConfigurationError: It is something else.
        """
        value = self._inputs.get(name)
        if name in NAMES and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"a {type(value).__name__} is no string", where=f"input {name}")
        return value

    def moment(self, name: str) -> dt.date | dt.datetime:
        """The input of that name, a date or a datetime; a text is read as ISO 8601.

        Raises:
            PricingError: It is None.
            ConfigurationError: It is something else.
        """
        value = self._inputs[name]
        if value is None:
            raise self.error(f"{name} is null")
        moment = read_moment(value) if isinstance(value, str) else value
        if not isinstance(moment, dt.date):
            shown = f'"{value}"' if isinstance(value, str) else f"a {type(value).__name__}"
            raise ConfigurationError(
                f'{shown} is no date or datetime: give one, or a text such as "2026-02-03" or "2026-02-03T09:30+01:00"',
                where=f"input {name}",
            )
        return moment

    def day(self, name: str) -> dt.date:
        """The input of that name as a day of the book's zone; a datetime without a zone is in the book's."""
        return local_day(self.moment(name), self.terms.zone, name)

    def known(self) -> int | None:
        """As far as prices and rates were known then, in microseconds since the epoch; None: all of them."""
        value = self._inputs.get("known_at")
        return self.terms.known_at if value is None else known_instant(value, where="input known_at")

    def value(self, field: str, of: object = None) -> Decimal:
        """A field of the step (or of a rule inside it): what the book says, or the input that it names."""
        value = getattr(self._step if of is None else of, field)
        return self.input(value.column) if isinstance(value, Column) else value

    def money(self, field: str, of: object = None) -> Decimal:
        """A field that is an amount of money; one that the book says is in the book's currency."""
        literal: Decimal | Column = getattr(self._step if of is None else of, field)
        if not isinstance(literal, Column):
            if literal and self.currency != self.terms.currency:
                raise self.error(literal_elsewhere(field, self.terms, self.currency))
            return literal
        if literal.column in self._at_home:
            self.require(
                self.currency == self.terms.currency,
                f"{literal.column} of the price {self._at_home[literal.column]} is in {self.terms.currency}, as it "
                f"names no currency, and the row is in {self.currency}: give the list a column currency",
            )
        return self.input(literal.column)

    def require(self, holds: bool, reason: str) -> None:
        """Raise PricingError unless the condition holds."""
        if not holds:
            raise self.error(reason)

    # The quantity, which steps may change before it is priced

    def units(self) -> tuple[Decimal, Decimal]:
        """Units before this item (those of earlier bills, 0 or more), and after it: quantity more.

        Without earlier bills the second is the quantity, which may be negative; with them it is 0 or more.
        """
        if self._units is None:
            before = self.optional("quantity_before", Decimal(0)) or Decimal(0)
            self.require(before >= 0, "quantity_before is below 0")
            after = before + self.input("quantity")
            self.require(not before or after >= 0, "the quantity takes back more than quantity_before")
            self._units = before, after
            self.continues = before != 0
        return self._units

    def use(self, before: Decimal, after: Decimal) -> None:
        """Go on with other units."""
        self._units = before, after

    # What steps give to others

    def give(self, name: str, value: Decimal, price: str, *, home: bool) -> None:
        """Make a value of a price list an input of the steps after.

        Args:
            name: Of the input.
            value: Its value.
            price: What names the row of the list.
            home: Whether that names no currency: an amount of money is in the book's.
        """
        self._inputs[name] = value
        if home:
            self._at_home[name] = f'"{price}"'

    def resolve(self, price: str, window: Window) -> None:
        """Say which row of a price list applied, and when that is valid."""
        self._price_ids.append(price)
        self.hold(window)

    def hold(self, window: Window) -> None:
        """Say when something that contributed is valid."""
        self._window = intersection(self._window, window)

    # What steps do

    def charge(self, exact: Exact, wording: Wording, *, rounded: bool = False) -> Decimal:
        """Add a charge, rounded (unless it is already, as a share is); give the amount."""
        amount = exact if rounded and isinstance(exact, Decimal) else self.rounded(exact)
        self.base += amount
        self.net += amount
        self.record(wording, amount, exact)
        return amount

    def take_back(self, exact: Exact, wording: Wording) -> Decimal:
        """Take back what was charged before: the amount is rounded as it was then, and turned."""
        amount = -self.rounded(exact)
        self.base += amount
        self.net += amount
        self.record(wording, amount, -exact)
        return amount

    def become(self, exact: Exact, wording: Wording) -> None:
        """Make the net this amount, rounded; the charges take the difference."""
        amount = self.rounded(exact)
        before, difference = self.net, amount - self.net
        self.base += difference
        self.net = amount
        self.record(wording, difference, Fraction(exact) - Fraction(before))

    def reduce(self, exact: Exact, wording: Wording, *, rounded: bool = False) -> Decimal:
        """Take a discount off, rounded as `charge` does; what remains is the net. Give the amount."""
        amount = exact if rounded and isinstance(exact, Decimal) else self.rounded(exact)
        self.discount += amount
        self.net -= amount
        self.record(wording, -amount, -exact)
        return amount

    def add_tax(self, exact: Exact, tax: TaxLine, wording: Wording, *, rounded: bool = False) -> None:
        """Add a tax, rounded as `charge` does; its amount is set here. A retained one does not count in the total."""
        amount = exact if rounded and isinstance(exact, Decimal) else self.rounded(exact)
        self.taxes.append(replace(tax, amount=amount))
        if tax.retained:
            self.retained += amount
            self.record(replace(wording, counts=False), -amount, -exact)
        else:
            self.tax += amount
            self.record(wording, amount, exact)

    def include_taxes(
        self,
        net: Exact,
        without_tax: Callable[[Decimal], Exact],
        taxes: Sequence[tuple[TaxLine, Wording]],
        *,
        rounded: bool = False,
    ) -> None:
        """Take the taxes out of the net, which includes them so far.

        Args:
            net: What remains, exactly; the rest is shared by the taxes.
            without_tax: The same for an amount that includes taxes (the base, what concerns the document).
            taxes: With their exact amounts as weights, of which the largest remainders get what is left over.
            rounded: Whether the net is already, as a share is.
        """
        if not any(tax.amount for tax, _ in taxes):
            # Nothing is included: all stays as it is, even what this step would round otherwise.
            for tax, wording in taxes:
                self.taxes.append(replace(tax, amount=Decimal(0), base=self.net))
                self.record(replace(wording, counts=False), Decimal(0), Decimal(0))
            return
        included = self.net
        self.net = net if rounded and isinstance(net, Decimal) else self.rounded(net)
        self.base = self.rounded(without_tax(self.base))
        self.discount = self.base - self.net
        self.allowance = self.rounded(without_tax(self.allowance))
        self.surcharge = self.rounded(without_tax(self.surcharge))
        weights = [abs(tax.amount) for tax, _ in taxes]
        amounts = self.shared(included - self.net, weights)
        for (tax, wording), amount in zip(taxes, amounts, strict=True):
            self.taxes.append(replace(tax, amount=amount, base=self.net))
            self.tax += amount
            self.record(replace(wording, counts=False), amount, amount)

    def convert(
        self,
        to: str,
        rate: Decimal,
        converted: Callable[[Decimal], Exact],
        wording: Wording,
        day: dt.date | None = None,
    ) -> None:
        """Go over to another currency; the discount takes the difference of base and net."""
        self.currency, self.fx_rate, self.fx_date = to, rate, day
        exact = converted(self.net)
        taxes = [(tax, converted(tax.amount)) for tax in self.taxes]
        self.net = self.rounded(exact)
        self.base = self.rounded(converted(self.base))
        self.discount = self.base - self.net
        self.allowance = self.rounded(converted(self.allowance))
        self.surcharge = self.rounded(converted(self.surcharge))
        self.taxes = [
            replace(tax, amount=self.rounded(amount), base=self.rounded(converted(tax.base))) for tax, amount in taxes
        ]
        self.tax = sum((tax.amount for tax in self.taxes if not tax.retained), Decimal(0))
        self.retained = sum((tax.amount for tax in self.taxes if tax.retained), Decimal(0))
        self._lines = [replace(line, adds_to_total=False) for line in self._lines]
        residues = [_residue(self.net, exact)]
        residues += [
            _residue(made.amount, amount)
            for made, (tax, amount) in zip(self.taxes, taxes, strict=True)
            if not tax.retained
        ]
        total = self.net + self.tax
        self.record(wording, total, total - sum(residues, Decimal(0)))

    def pay(self, amount: Decimal, wording: Wording) -> None:
        """Pay by a credit."""
        self.prepaid += amount
        self.record(replace(wording, counts=False), -amount, -amount)

    def round_due(self, difference: Decimal, wording: Wording) -> None:
        """Add what rounding the amount to pay makes of it."""
        self.rounding += difference
        self.record(replace(wording, counts=False), difference, difference)

    @property
    def own(self) -> Decimal:
        """The net without what concerns the whole document."""
        return self.net + self.allowance - self.surcharge

    @property
    def payable(self) -> Decimal:
        """What is to pay so far."""
        return self.net + self.tax - self.retained - self.prepaid + self.rounding

    # How

    def rounded(self, exact: Exact) -> Decimal:
        """Round once, by the step's rounding or the book's, to the digits of the currency."""
        rounding = self._step.rounding or self.terms.rounding
        if rounding == "none":
            amount = round_to(exact, UNROUNDED_PLACES, "half_even")
        else:
            amount = round_to(exact, minor_units(self.currency), rounding)
        self.require(abs(amount) < self._limit, TOO_LARGE)
        if rounding == "none":
            self.require(amount == exact, TOO_FINE)
        return amount

    def told(self, exact: Exact) -> Decimal:
        """An amount that is told and counts for nothing: rounded likewise, and never refused for its many places."""
        if (self._step.rounding or self.terms.rounding) != "none":
            return self.rounded(exact)
        amount = round_to(exact, UNROUNDED_PLACES, "half_even")
        self.require(abs(amount) < self._limit, TOO_LARGE)
        return amount

    def rounded_to(self, exact: Exact, increment: Decimal) -> Decimal:
        """Round to a multiple of an increment, by the step's rounding or the book's.

        Raises:
            ConfigurationError: That is "none".
        """
        rounding = self._step.rounding or self.terms.rounding
        if rounding == "none":
            raise ConfigurationError(f"{self._step.id}: say a rounding by name, such as half_up")
        amount = round_to(Fraction(exact) / Fraction(increment), 0, rounding) * increment
        self.require(abs(amount) < self._limit, TOO_LARGE)
        return amount

    def shared(
        self, amount: Decimal, weights: Sequence[Exact], limits: Sequence[Decimal] | None = None
    ) -> list[Decimal]:
        """Split an amount by largest remainder, in the smallest units of the currency."""
        unit = Fraction(self.terms.unit(self.currency))
        room = None if limits is None else [int(Fraction(limit) / unit) for limit in limits]
        sign = -1 if amount < 0 else 1
        parts = split(abs(int(Fraction(amount) / unit)), [Fraction(weight) for weight in weights], room)
        return [sign * part * self.terms.unit(self.currency) for part in parts]

    def record(self, wording: Wording, amount: Decimal, exact: Exact) -> None:
        """Add a line to the receipt."""
        step = self._step
        name, kind = step.id or step.kind, step.kind
        if wording.rule is not None:
            name, kind = f"{name}.{wording.rule[0]}", wording.rule[1]
        self._lines.append(
            Line(
                id=name,
                step=kind,
                what=wording.what,
                quantity=wording.quantity,
                rate=wording.rate,
                amount=amount,
                currency=self.currency,
                residue=_residue(amount, exact),
                adds_to_total=wording.counts,
                tier=wording.tier,
            )
        )

    def error(self, reason: str) -> PricingError:
        """The error that this item cannot be priced, and which step says so."""
        return PricingError(f"{self._step.id}: {reason}")

    def receipt(self) -> Receipt:
        """What came of it."""
        quantum = self.terms.unit(self.currency)
        fixed = {
            name: getattr(self, name).quantize(quantum)
            for name in ("base", "discount", "net", "tax", "retained", "prepaid", "rounding", "payable")
        }
        return Receipt(
            currency=self.currency,
            total=fixed["net"] + fixed["tax"],
            taxes=tuple(self.taxes),
            rule_id=self.terms.rule_id,
            fx_rate=self.fx_rate,
            fx_date=self.fx_date,
            lines=tuple(self._lines),
            rounding_mode=self.terms.rounding,
            book=self.terms.name,
            fingerprint=self.terms.fingerprint,
            price_id=", ".join(self._price_ids) or None,
            price_from=shown_instant(self._window[0], self.terms.zone) if self._price_ids else None,
            price_to=shown_instant(self._window[1], self.terms.zone) if self._price_ids else None,
            **fixed,
        )

    def order(self, index: int) -> tuple[int, str, int]:
        """Where the line stands among those of its document: by line_id ("9" before "10"), else as given."""
        line = self.text("line_id")
        return (0, "", index) if line is None else (len(line), line, index)

    def _number(self, name: str, value: object) -> Decimal:
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**38:
            raise PricingError(f"{name} has more than 38 digits")
        try:
            return exact_decimal(value)
        except ConfigurationError as error:
            raise type(error)(error.message, where=f"input {name}") from None

    def _own_currency(self) -> str:
        currency = self._inputs.get("currency", self.terms.currency)
        if currency is None:
            raise PricingError("currency is null")
        if not isinstance(currency, str):
            raise ConfigurationError(f"the currency is a {type(currency).__name__}, not a string such as EUR")
        if not has_minor_units(currency):
            try:
                minor_units(currency)
            except ConfigurationError as error:
                raise PricingError(f"currency: {error.message}") from None
        if not (self.terms.converts or self.terms.mixed) and currency != self.terms.currency:
            home = self.terms.currency
            raise PricingError(f"currency: the row is in {currency}, the book in {home}, and no step converts")
        return currency

    def _line_kind(self) -> LineKind:
        kind = self.text("line_kind") or "line"
        if kind not in TURNED:
            known = ", ".join(get_args(LineKind))
            raise PricingError(f'line_kind: "{kind}" is none of {known}')
        return kind  # type: ignore[return-value]  # one of them


def each_line(lines: Iterable[tuple[int, L]], of: Callable[[L], R]) -> list[R]:
    """What each line gives, in order; all that cannot be priced are told together.

    Args:
        lines: With their places in the document, from 0.
        of: Gives a line's value, or raises PricingError.

    Raises:
        PricingError: Its `lines` say which and why.
    """
    made: list[R] = []
    wrong: dict[int, str] = {}
    for place, line in lines:
        try:
            made.append(of(line))
        except PricingError as error:
            wrong[place] = str(error)
    if wrong:
        raise PricingError("; ".join(dict.fromkeys(wrong.values())), lines=wrong)
    return made


class DocumentRating:
    """The lines of one document while steps that concern all of them run.

    What such a step comes to is computed once and allocated to the lines by largest remainder, weighted by the
    lines' amounts without their signs; of equal remainders the earlier line's comes first.
    """

    def __init__(self, lines: Sequence[Rating]) -> None:
        self.lines = lines
        self.terms = lines[0].terms
        ids = [line.text("line_id") for line in lines]
        if any(name is None for name in ids) and any(name is not None for name in ids):
            raise PricingError("line_id: some lines of the document have one and some have not")
        if ids[0] is not None and len(set(ids)) < len(ids):
            raise PricingError("line_id: two lines of the document have the same")
        self._ordered = sorted(range(len(lines)), key=lambda index: lines[index].order(index))

    def begin(self, step: Step) -> None:
        """Name the step under way."""
        for line in self.lines:
            line.begin(step)

    def check(self) -> None:
        """Check what must hold of a document when all steps have run.

        Raises:
            PricingError: Its lines are in several currencies.
        """
        if len({line.currency for line in self.lines}) > 1:
            raise PricingError("the lines of the document are in several currencies, and no step converts")

    @property
    def first(self) -> Rating:
        """The first line; values that must be the same on all lines are read from it."""
        return self.lines[0]

    def each(self, of: Callable[[Rating], R]) -> list[R]:
        """What each line gives, in order.

        Raises:
            PricingError: Lines cannot be priced: these alone are to blame, and `lines` says why.
        """
        return each_line(enumerate(self.lines), of)

    def value(self, field: str, *, money: bool = False) -> Decimal:
        """A field of the step; where it names an input, that must be the same on all lines of the document."""
        values = set(self.each(lambda line: line.money(field) if money else line.value(field)))
        self.first.require(len(values) == 1, f"{field} differs within the document")
        return values.pop()

    def total(self, of: Callable[[Rating], Decimal]) -> Decimal:
        """The sum over the lines, all in one currency."""
        same = len({line.currency for line in self.lines}) == 1
        self.first.require(same, "the lines of the document are in several currencies, and no step converts before")
        return sum((of(line) for line in self.lines), Decimal(0))

    def shares(
        self,
        amount: Decimal,
        of: Callable[[Rating], Decimal],
        *,
        within: bool = False,
        evenly: bool = False,
    ) -> list[Decimal]:
        """Split an amount among the lines.

        Args:
            amount: In whole smallest units of the currency.
            of: The amount of a line, by which it is weighted; where all are 0 the lines count alike.
            within: Lines of the other sign than `amount` take no share, and no share is larger than its line.
            evenly: All lines (with `within`: all that may take a share) count alike.
        """
        values = [of(self.lines[index]) for index in self._ordered]
        if within:
            values = [value if (value < 0) == (amount < 0) else Decimal(0) for value in values]
        limits = [abs(value) for value in values] if within else None
        if evenly or not any(values):
            values = [Decimal(1 if value or not within else 0) for value in values]
            if not any(values):
                values = [Decimal(1)] * len(values)
                limits = None
        shares = self.first.shared(amount, [abs(value) for value in values], limits)
        placed = dict(zip(self._ordered, shares, strict=True))
        return [placed[index] for index in range(len(self.lines))]

    def spread(self, exact: Sequence[Exact], total: Decimal, lines: Sequence[int]) -> list[Decimal]:
        """Amounts near the exact ones that add up to `total`: each is rounded down, and the largest remainders up.

        Args:
            exact: One a line of `lines`.
            total: Their sum, rounded.
            lines: Indices of the lines.
        """
        unit = Fraction(self.terms.unit(self.lines[lines[0]].currency))
        sign = -1 if total < 0 else 1
        units = [sign * Fraction(value) / unit for value in exact]
        whole = [value.numerator // value.denominator for value in units]
        left = int(sign * Fraction(total) / unit) - sum(whole)
        place = {line: place for place, line in enumerate(self._ordered)}
        first = sorted(range(len(lines)), key=lambda at: (whole[at] - units[at], place[lines[at]]))
        for index in first[:left]:
            whole[index] += 1
        return [sign * value * self.terms.unit(self.lines[lines[0]].currency) for value in whole]

    def receipt(self) -> DocumentReceipt:
        """What came of it."""
        receipts = tuple(line.receipt() for line in self.lines)
        currency = self.first.currency
        quantum = self.terms.unit(currency)

        def summed(of: Callable[[Rating], Decimal]) -> Decimal:
            return sum((of(line) for line in self.lines), Decimal(0)).quantize(quantum)

        allowances = summed(lambda line: line.allowance - (line.own if line.kind == "allowance" else 0))
        charges = summed(lambda line: line.surcharge + (line.own if line.kind == "charge" else 0))
        net = summed(lambda line: line.net)
        return DocumentReceipt(
            currency=currency,
            receipts=receipts,
            sum_of_lines=net + allowances - charges,
            allowances=allowances,
            charges=charges,
            tax_exclusive=net,
            tax=summed(lambda line: line.tax),
            tax_inclusive=summed(lambda line: line.net + line.tax),
            retained=summed(lambda line: line.retained),
            prepaid=summed(lambda line: line.prepaid),
            rounding=summed(lambda line: line.rounding),
            payable=summed(lambda line: line.payable),
            taxes=self._tax_groups(),
        )

    def _tax_groups(self) -> tuple[TaxLine, ...]:
        groups: dict[tuple[str, str | None, Decimal, bool], TaxLine] = {}
        for tax in (tax for line in self.lines for tax in line.taxes):
            key = (tax.code, tax.category, tax.rate, tax.retained)
            known = groups.get(key)
            groups[key] = (
                tax if known is None else replace(known, base=known.base + tax.base, amount=known.amount + tax.amount)
            )
        return tuple(groups.values())


def _residue(amount: Decimal, exact: Exact) -> Decimal:
    if isinstance(exact, Decimal):
        return round_to(EXACT.subtract(amount, exact), RESIDUE_PLACES, "half_even")
    return round_to(Fraction(amount) - Fraction(exact), RESIDUE_PLACES, "half_even")


def literal_elsewhere(field: str, terms: Terms, currency: str) -> str:
    """Why an amount that the book says cannot be used for an item in another currency."""
    return (
        f"{field} is in {terms.currency}, the row in {currency}: let the row bring it, "
        f'{field} = {{ column = "name of an input" }}'
    )
