"""What a visitor who only types does not cost: an ear begins with the microphone's first frame."""

import asyncio

from tests.support.fakes import silence
from tests.support.scene import Scene


def tasks() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()}


def test_the_ear_begins_with_the_first_frame_of_the_microphone() -> None:
    async def script(scene: Scene) -> None:
        scene.say("Hello!")
        await asyncio.sleep(1)
        assert "pump" in tasks()
        assert "ear" not in tasks()
        await scene.speak(silence(0.1))
        assert "ear" in tasks()

    Scene().play(script)


def test_an_ear_opens_one_stream_of_the_detector_however_long_it_listens() -> None:
    async def script(scene: Scene) -> None:
        await scene.speak(silence(1.0))
        await asyncio.sleep(5)
        await scene.speak(silence(1.0))

    scene = Scene()
    scene.play(script)
    assert (scene.vad.opened, scene.vad.closed) == (1, 1)
