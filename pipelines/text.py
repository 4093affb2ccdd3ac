"""The text pipeline: what the user said -> what the bot knows of it -> the reply's text, as it is written."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from pipelines.channel import Channel
from pipelines.core.language import primary
from pipelines.core.prompt import messages
from pipelines.core.template import Rendered
from pipelines.frames import Citation, Failed, Frame, Question, TextDelta, Transcript, UserText, Written
from pipelines.ports import Bot, Chosen, Guard, Retriever
from pipelines.providers.base import LONGEST, TOO_SLOW, ChatMessage, Ending, ProviderError
from pipelines.stage import Stage

APOLOGY = {
    "en": "Sorry, I cannot answer right now. Please try again in a moment.",
    "de": "Entschuldigung, ich kann gerade nicht antworten. Bitte versuchen Sie es gleich noch einmal.",
    "es": "Lo siento, ahora mismo no puedo responder. Inténtelo de nuevo en un momento.",
    "fr": "Désolé, je ne peux pas répondre pour le moment. Réessayez dans un instant.",
}


WHOLE: Final = 300.0
"""Seconds that a model may take for a whole answer; the longest that can be asked for (4096 tokens) at 14 a second.
How long its reader or listener takes does not count."""


def apology(language: str) -> str:
    return APOLOGY.get(primary(language), APOLOGY["en"])


class Retrieve:
    """User text or a transcript -> a question with the passages that may answer it. Fails open: no passages."""

    def __init__(self, retriever: Retriever, bot: Bot, *, limit: int = 4) -> None:
        self._retriever, self._bot, self._limit = retriever, bot, limit

    async def run(self, inbox: Channel[Frame], outbox: Channel[Frame]) -> None:
        async for frame in inbox:
            if not isinstance(frame, UserText | Transcript):
                await outbox.send(frame)
                continue
            if isinstance(frame, Transcript):
                await outbox.send(frame)
            try:
                passages = tuple(await self._retriever.search(self._bot, frame.text, self._limit))
            except ProviderError as error:
                passages = ()
                await outbox.send(Failed(frame.turn, "retrieval", error.public, error.retryable))
            for n, passage in enumerate((p for p in passages if p.document_id), 1):
                await outbox.send(
                    Citation(
                        frame.turn, n, passage.document_id, passage.title, passage.url, passage.text, passage.score
                    )
                )
            await outbox.send(Question(frame.turn, frame.text, passages))


class Think:
    """A question -> itself, the reply's text deltas, and `Written`.

    A verbatim passage is the answer. A model that says nothing for as long as `chosen` says, stalls for `stall_timeout`
    seconds, takes `WHOLE` seconds or fails gives an apology when nothing was said yet, and always a `Failed`. An answer
    of more than `LONGEST` characters is cut off there.
    """

    def __init__(
        self,
        chosen: Chosen,
        guard: Guard,
        bot: Bot,
        prompt: Rendered,
        history: Sequence[ChatMessage],
        *,
        spoken: bool,
        stall_timeout: float = 10.0,
    ) -> None:
        self._chosen, self._guard, self._bot, self._prompt, self._history = chosen, guard, bot, prompt, history
        self._spoken, self._stall_timeout = spoken, stall_timeout

    async def run(self, inbox: Channel[Frame], outbox: Channel[Frame]) -> None:
        async for frame in inbox:
            if isinstance(frame, Question):
                await outbox.send(frame)
                await self._answer(frame, outbox)
            else:
                await outbox.send(frame)

    async def _answer(self, question: Question, outbox: Channel[Frame]) -> None:
        turn = question.turn
        allowed = await self._guard.check_input(self._bot, question.text)
        if not allowed.allowed:
            await outbox.send(TextDelta(turn, allowed.reply))
            return
        if question.passages and question.passages[0].verbatim:
            await outbox.send(TextDelta(turn, question.passages[0].text))
            return
        history = (*self._bot.examples, *self._history)
        chat = messages(
            self._prompt.system,
            history,
            allowed.text,
            question.passages,
            spoken=self._spoken,
            context=self._prompt.context,
        )
        chosen, said, ending = self._chosen, 0, None
        now, left = asyncio.get_running_loop().time, WHOLE
        try:
            async with aclosing(chosen.llm.stream(chat, chosen.options)) as deltas:  # type: ignore[type-var]
                while said < LONGEST:
                    asked = now()
                    try:
                        async with asyncio.timeout(min(left, self._stall_timeout if said else chosen.patience)):
                            delta = await anext(deltas)
                    except StopAsyncIteration:
                        break
                    left -= now() - asked
                    if isinstance(delta, Ending):
                        ending = delta
                        continue
                    delta = (delta if said else delta.lstrip())[: LONGEST - said]
                    if delta:
                        said += len(delta)
                        await outbox.send(TextDelta(turn, delta))
                        await asyncio.sleep(0)  # a model that has more ready must not hold up what it has said
                else:
                    ending = Ending(chosen.llm.capabilities.model, "length")
            if not said:
                raise ProviderError(
                    "the model ended without a word", retryable=True, public="The model gave no answer."
                )
            if ending:
                await outbox.send(
                    Written(turn, ending.model, ending.finish_reason, ending.input_tokens, ending.output_tokens)
                )
        except (ProviderError, TimeoutError) as error:
            failed = error if isinstance(error, ProviderError) else _STALLED
            if not said:
                await outbox.send(TextDelta(turn, apology(self._bot.language)))
            await outbox.send(Failed(turn, "llm", failed.public, failed.retryable))


_STALLED = ProviderError("no token in time", retryable=True, public=TOO_SLOW)


def text(retrieve: Retrieve, think: Think) -> list[Stage]:
    """Enter with `UserText` or `Transcript`; leaves `TextDelta`, `Citation` and `Failed`."""
    return [retrieve, think]
