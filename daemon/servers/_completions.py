"""Asking a server as its users do: OpenAI's `/v1/completions`, which vLLM, SGLang and most others have."""

from pathlib import Path

from pydantic import BaseModel, Field, ValidationError, model_validator

from factd.daemon.errors import HandoverFailed
from factd.daemon.network.client import HttpAnswer, origin
from factd.daemon.servers import Completion, ServerSettings, SingleVersionServer, Version
from factd.daemon.servers._http import Api, key_in

PATH = "/v1/completions"


class _Logprobs(BaseModel):
    token_logprobs: tuple[float | None, ...] = ()


class _Choice(BaseModel):
    text: str
    logprobs: _Logprobs | None = None


class _Completed(BaseModel):
    choices: tuple[_Choice, ...] = Field(min_length=1)


def complete(api: Api, model: str, prompt: str, *, tokens: int, path: str = PATH) -> Completion:
    """The greedy continuation of a prompt by a model of a server. Raises: HandoverFailed."""
    body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "logprobs": 1}
    return completion(api, api.done("POST", path, body))


def completion(api: Api, answer: HttpAnswer) -> Completion:
    """What an answer holds. Raises: HandoverFailed: it is no completion."""
    try:
        first = _Completed.model_validate_json(answer.body).choices[0]
    except ValidationError as error:
        raise HandoverFailed(
            f"{origin(api.url)} answered no completion: {error.errors()[0]['msg']}"
        ) from error
    values = first.logprobs.token_logprobs if first.logprobs else ()
    return Completion(text=first.text, logprobs=tuple(v for v in values if v is not None))


class CompletionServerSettings(ServerSettings):
    """What a server's table has where what takes a version up, and what answers, are not the same."""

    completions_url: str = Field(default="", pattern=r"^(https?://\S+)?$")  # whole, with its path
    model: str = ""  # that users ask for
    api_key_file: Path | None = None  # of the completions
    unasked: bool = False  # nobody asks it: nothing notices wrong weights

    @model_validator(mode="after")
    def _is_asked_or_not(self) -> "CompletionServerSettings":
        if bool(self.completions_url) == self.unasked:
            raise ValueError(
                "give completions_url and model, through which it is asked what it serves; or unasked = true: "
                "nothing would notice wrong weights"
            )
        if bool(self.completions_url) != bool(self.model):
            raise ValueError("completions_url and model belong together")
        return self

    def ready(self) -> None:
        """Raises: BadConfig: the key cannot be read."""
        key_in(self.api_key_file)


class CompletionServer(SingleVersionServer):
    """A server that may be asked through another address than the one that takes versions up."""

    def __init__(self, settings: CompletionServerSettings) -> None:
        key, self.model = key_in(settings.api_key_file), settings.model
        self.asks = not settings.unasked
        self.api = Api(settings, settings.completions_url, key=key)

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        """The greedy continuation of a prompt, as users get it. Raises: HandoverFailed."""
        if not self.asks:
            return super().complete(prompt, tokens=tokens)
        return complete(self.api, self.model, prompt, tokens=tokens, path="")

    def close(self) -> None:
        """End the connection."""
        self.api.close()
