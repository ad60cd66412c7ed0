"""Conversations, each twice: as a Messages API request, for the engine, and as chat messages, for transformers."""

SCHEMA = {"type": "object", "properties": {"path": {"type": "string", "description": "Where, e.g. \"a/b\"."},
                                           "lines": {"type": "array", "items": {"type": "integer"}}}, "required": ["path"]}
TOOLS = [("Read", "Reads <a file> & 'more'.\n\tÉ, 日本語, 🙂.", SCHEMA),
         ("Bash", "Runs a command.", {"type": "object", "properties": {"command": {"type": "string"}, "timeout": {"type": "number"}}})]
SILENT = [("Read", None, SCHEMA)]
NESTED = [("Edit", "Edits.", {"type": "object", "required": ["edits"], "additionalProperties": False, "properties": {
    "edits": {"type": "array", "minItems": 1, "items": {"type": "object", "properties": {
        "old": {"type": ["string", "null"], "default": None}, "all": {"type": "boolean", "default": False}}}},
    "mode": {"enum": ["fast", "slow"], "description": "How."}, "scale": {"type": "number", "default": 1.5}}})]
ARGUMENTS = {"path": "src/é 🙂.rs", "lines": [1, 2, 10], "more": {"x": None, "y": [True, 1.5, "a\nb"], "z": {}}}

TEXTS = ["Hi", "  two  spaces and\ttabs \n\n\n end  ", "fn main() {\n    println!(\"{}\", 1_000);\n}\n", "日本語のテキスト、한국어, العربية",
         "emoji 🙂👩‍👩‍👧 and é vs e\u0301", "numbers 1234567890 3.14 0xff", "don't we'll I'M", "<b>html</b> &amp; <not-a-token>", "\r\n line \r\n"]


def user(text):
    return {"role": "user", "content": text}


def answer(text, *calls, thought=None):
    """An answer of the model, as chat message."""
    message = {"role": "assistant", "content": text}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = [{"id": f"call{number:05}", "type": "function", "function": {"name": name, "arguments": arguments}}
                                 for number, name, arguments in calls]
    return message


def answered(text, *calls, thought=None):
    """An answer of the model, as content blocks."""
    blocks = [{"type": "thinking", "thinking": thought, "signature": "s"}] if thought else []
    blocks += [{"type": "text", "text": text}] if text else []
    blocks += [{"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": arguments} for number, name, arguments in calls]
    return {"role": "assistant", "content": blocks}


def result(number, name, text):
    return {"role": "tool", "tool_call_id": f"call{number:05}", "name": name, "content": text}


def told(*blocks):
    """Results, each its call's number and the text, and texts, as content blocks of the user."""
    return user([{"type": "text", "text": block} if isinstance(block, str) else
                 {"type": "tool_result", "tool_use_id": f"toolu_{block[0]}", "content": block[1]} for block in blocks])


def late(text):
    return {"role": "system", "content": text}


class Conversation:
    """`request` and `messages` say the same. `facts`: what a prompt has to show of it, in this order."""

    def __init__(self, name, request, messages, facts=(), system=None, tools=(), thinking=False):
        body = {"model": "m", "max_tokens": 1, "messages": request}
        if system:
            body["system"] = [{"type": "text", "text": text} for text in system]
            messages = [{"role": "system", "content": "\n\n".join(system)}] + messages
        if tools:
            body["tools"] = [dict(name=name, input_schema=schema, **({"description": text} if text else {}))
                             for name, text, schema in tools]
        if thinking:
            body["thinking"] = {"type": "adaptive"}
        self.name, self.request, self.messages, self.facts, self.thinking = name, body, messages, list(facts), thinking
        self.tools = [{"type": "function", "function": dict(name=name, **({"description": text} if text else {}), parameters=schema)}
                      for name, text, schema in tools] or None

    def json(self):
        return {key: getattr(self, key) for key in ("name", "request", "messages", "tools", "thinking", "facts")}


def conversations():
    """What every template is tried with."""
    read, bash = ("Read", ARGUMENTS), ("Bash", {"command": "ls -l", "timeout": 2.5})
    first, hi = user("Please read it."), user("Hi there")
    yield Conversation("a first turn", [hi], [hi], ["Hi there"])
    yield Conversation("system", [hi], [hi], ["You are A.", "Be brief.", "Hi there"], system=["You are A.", "Be brief."])
    turns = [user("One?"), answer("Two."), user("Three?"), answer("Four.\n"), user("Five?")]
    yield Conversation("turns", turns, turns, ["One?", "Two.", "Three?", "Four.", "Five?"])
    yield Conversation("tools", [first], [first], ["Read", "Bash", "Please read it."], system=["You are A."], tools=TOOLS)
    yield Conversation("nested schema", [first], [first], ["Edit", "slow", "Please read it."], tools=NESTED)
    yield Conversation("no description", [first], [first], ["Read", "Please read it."], tools=SILENT)
    one = [first, answered("", (1, *read)), told((1, "it says one\n"))]
    yield Conversation("a call", one, [first, answer("", (1, *read)), result(1, "Read", "it says one\n")],
                       ["Please read it.", "src/", "it says one"], system=["You are A."], tools=TOOLS)
    spoken = [first, answered("I am reading.", (1, *read)), told((1, "it says one\n"))]
    read_it = [first, answer("I am reading.", (1, *read)), result(1, "Read", "it says one\n")]
    spoken_facts = ["Please read it.", "I am reading.", "src/", "it says one"]
    yield Conversation("text before a call", spoken, read_it, spoken_facts, system=["You are A."], tools=TOOLS)
    both, two = [(1, *read), (2, *bash)], [(1, "it says one\n"), (2, "total 0")]
    yield Conversation("parallel calls", [first, answered("", *both), told(*two)],
                       [first, answer("", *both), result(1, "Read", two[0][1]), result(2, "Bash", two[1][1])],
                       ["Please read it.", "src/", "it says one", "total 0"], tools=TOOLS)
    yield Conversation("calls in turn", spoken + [answered("Now I list.", (2, *bash)), told((2, "total 0"))],
                       read_it + [answer("Now I list.", (2, *bash)), result(2, "Bash", "total 0")],
                       spoken_facts + ["Now I list.", "ls -l", "total 0"], tools=TOOLS)
    yield Conversation("text beside a result", spoken[:2] + [told((1, "it says one\n"), "And be quick.")],
                       read_it + [user("And be quick.")], spoken_facts + ["And be quick."], tools=TOOLS)
    done = [answer("It says one.\n"), user("Thank you.")]
    yield Conversation("an answer after a result", spoken + done, read_it + done, spoken_facts + ["It says one.", "Thank you."],
                       tools=TOOLS)
    yield Conversation("system after the user", [hi, late("It is late.")], [hi, late("It is late.")], ["Hi there", "It is late."],
                       system=["You are A."])
    yield Conversation("system after a result", spoken + [late("It is late.")], read_it + [late("It is late.")],
                       spoken_facts + ["It is late."], system=["You are A."], tools=TOOLS)
    between = [hi, answer("Hello."), late("It is late."), user("And now?")]
    yield Conversation("system between turns", between, between, ["Hi there", "Hello.", "It is late.", "And now?"])
    yield Conversation("two users", [hi, user("Are you there?")], [hi, user("Are you there?")], ["Hi there", "Are you there?"])
    yield Conversation("thinking", [hi], [hi], ["Hi there"], system=["You are A."], thinking=True)
    thought = "I should\nread."
    yield Conversation("a thought before a call", [first, answered("I am reading.", (1, *read), thought=thought), spoken[2]],
                       [first, answer("I am reading.", (1, *read), thought=thought), read_it[2]], spoken_facts, tools=TOOLS, thinking=True)
    yield Conversation("a thought in an earlier turn", [hi, answered("Hello.", thought=thought), user("And now?")],
                       [hi, answer("Hello.", thought=thought), user("And now?")], ["Hi there", "Hello.", "And now?"], thinking=True)


def texts():
    """What a tokenizer is tried with."""
    for number, text in enumerate(TEXTS):
        yield Conversation(f"text {number}", [user(text)], [user(text)], [text])
    marked = {"a": "</tool>"}
    yield Conversation("a call without text", [user("Go."), answered("", (1, "Bash", marked)), told((1, ""), "And now?")],
                       [user("Go."), answer("", (1, "Bash", marked)), result(1, "Bash", ""), user("And now?")], tools=TOOLS)
