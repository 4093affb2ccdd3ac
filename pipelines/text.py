"""The text pipeline: what the user said -> what the bot knows of it -> the reply's text, as it is written."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from pipelines.channel import Channel
from pipelines.core.language import primary
from pipelines.core.prompt import messages
from pipelines.frames import Citation, Failed, Frame, Question, TextDelta, Transcript, UserText
from pipelines.ports import Bot, Guard, Retriever
from pipelines.providers.base import TOO_SLOW, ChatMessage, Llm, LlmOptions, ProviderError
from pipelines.stage import Stage

APOLOGY = {
    "en": "Sorry, I cannot answer right now. Please try again in a moment.",
    "de": "Entschuldigung, ich kann gerade nicht antworten. Bitte versuchen Sie es gleich noch einmal.",
    "es": "Lo siento, ahora mismo no puedo responder. Inténtelo de nuevo en un momento.",
    "fr": "Désolé, je ne peux pas répondre pour le moment. Réessayez dans un instant.",
}


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
    """A question -> the reply's text deltas.

    A verbatim passage is the answer. A model that says nothing for `first_token_timeout` seconds, stalls for
    `stall_timeout` or fails gives an apology when nothing was said yet, and always a `Failed`.
    """

    def __init__(
        self,
        llm: Llm,
        guard: Guard,
        bot: Bot,
        history: Sequence[ChatMessage],
        options: LlmOptions,
        *,
        spoken: bool,
        first_token_timeout: float = 5.0,
        stall_timeout: float = 10.0,
    ) -> None:
        self._llm, self._guard, self._bot, self._history, self._options = llm, guard, bot, history, options
        self._spoken = spoken
        self._first_token_timeout, self._stall_timeout = first_token_timeout, stall_timeout

    async def run(self, inbox: Channel[Frame], outbox: Channel[Frame]) -> None:
        async for frame in inbox:
            if isinstance(frame, Question):
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
        chat = messages(self._bot.prompt, history, allowed.text, question.passages, spoken=self._spoken)
        said = False
        try:
            async with aclosing(self._llm.stream(chat, self._options)) as deltas:  # type: ignore[type-var]
                while True:
                    try:
                        async with asyncio.timeout(self._stall_timeout if said else self._first_token_timeout):
                            delta = await anext(deltas)
                    except StopAsyncIteration:
                        break
                    delta = delta if said else delta.lstrip()
                    if delta:
                        said = True
                        await outbox.send(TextDelta(turn, delta))
                        await asyncio.sleep(0)  # a model that has more ready must not hold up what it has said
            if not said:
                raise ProviderError(
                    "the model ended without a word", retryable=True, public="The model gave no answer."
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
