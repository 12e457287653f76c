"""Words that refer to somebody without naming them: pronouns, roles such as "my brother", and words for the user.

They fit different people at different times, so they must not identify an entity. The words of 16 languages are known.
"""

from __future__ import annotations

import re

from langchain_agentmem.knowledge.names import folded

USER = "user"
"""Name of the entity that represents the user."""


def _words(*lines: str) -> frozenset[str]:
    return frozenset(folded(word.replace("_", " ")) for line in lines for word in line.split())


_USER = _words(
    "user the_user this_user i me myself yo usuario usuaria el_usuario la_usuaria ich benutzer nutzer der_benutzer",
    "der_nutzer die_nutzerin je utilisateur l'utilisateur utente l'utente usuário o_usuário gebruiker de_gebruiker",
    "användare användaren użytkownik kullanıcı người_dùng pengguna я пользователь користувач 我 用户 用戶 使用者 私",
    "僕 俺 ユーザー ユーザ 나 저 사용자 أنا المستخدم मैं उपयोगकर्ता",
)
_PRONOUNS = _words(
    "he him his himself she her hers herself it its itself they them their theirs themselves we us our ours ourselves",
    "you your yours yourself mine this that these those who someone somebody anyone anybody everyone everybody nobody",
    "él usted ustedes ellos ellas nosotros nosotras vosotros tú mí ti ihn ihm ihnen mich dich uns euch er sie es wir",
    "ihr du dir elle elles ils vous nous moi toi lui eux egli esso essi noi voi loro você vocês nós eles elas ty_sam",
    "on_sam ты он она оно мы вы они его её ее ему ей их ним ней він вона воно ми ви вони його її hij zij jij jullie",
    "wij hem haar hen oni wy siz onlar biz sen anh_ấy cô_ấy bạn mereka kami kamu 你 您 他 她 它 我们 我們 你们 他们",
    "他們 她们 她們 彼 彼女 彼ら あなた 너 그 그녀 우리 그들 أنت هو هي نحن هم आप तुम वह वे हम यह",
)
_PRONOUNS_IN_LOWER_CASE = _words(
    "ella ben han hon ona ono on one jag mir io lei vi ni de les lo la le se o my mi ja eu den det kita dia aku saya",
    "ele ela ty il ik je u tu te hun ons min",
)
"""Pronouns that are names too, if they begin with a capital letter."""

_ABBREVIATIONS = _words("us it er who")
"""Pronouns that are abbreviations too, if they are written in capital letters."""

_POSSESSIVES = _words(
    "my your his her its our their mi mis tu tus su sus nuestro nuestra vuestro vuestra mein meine meiner meinem",
    "meinen dein deine sein seine seiner ihr ihre unser unsere euer eure mon ma mes ton ta tes son sa ses notre nos",
    "votre vos leur leurs mio mia miei mie tuo tua suo sua nostro nostra vostro loro meu minha meus minhas teu seu",
    "nosso nossa мой моя моё мое мои твой твоя его её ее наш наша наши их мій мої його її mijn jouw zijn haar ons",
    "onze hun min mitt mina din hans hennes vår mój moja moje twój twoja jego jej nasz nasza benim senin onun bizim",
    "मेरा मेरी मेरे हमारा हमारी उसका उसकी 내 제 나의 우리 그의 그녀의",
)
_ARTICLES = _words(
    "the a an el la los las un una der die das ein eine le les une il lo gli o os as um uma de het een en ett"
)
_OF = _words("of de del della di da do von der du des from van от")
_ROLES = _words(
    "mother mom mum mommy mummy father dad daddy papa parent parents brother brothers sister sisters sibling bro sis",
    "son daughter child children kid kids baby wife husband spouse partner fiance fiancé fiancée girlfriend boyfriend",
    "friend friends bestie buddy pal mate roommate flatmate housemate neighbour neighbor grandmother grandma granny",
    "nana grandfather grandpa granddad grandson granddaughter uncle aunt auntie cousin nephew niece stepmother",
    "stepfather stepbrother stepsister twin ex mother-in-law father-in-law brother-in-law sister-in-law son-in-law",
    "daughter-in-law godmother godfather boss manager supervisor colleague coworker co-worker teammate employee",
    "assistant secretary intern client customer doctor dentist therapist nurse teacher professor tutor coach mentor",
    "student landlord landlady tenant lawyer attorney accountant ceo cto cfo founder director president owner dog cat",
    "pet horse man woman boy girl guy lady person madre mamá mama padre papá hermano hermana hermanos hijo hija",
    "esposo esposa marido mujer novio novia pareja amigo amiga vecino vecina abuelo abuela tío tía primo prima",
    "sobrino sobrina jefe jefa colega compañero compañera médico médica doctora profesor profesora perro gato suegra",
    "suegro cuñado cuñada mutter vater bruder schwester sohn tochter kind ehemann ehefrau mann frau freund freundin",
    "partnerin nachbar nachbarin oma opa großmutter großvater onkel tante cousine vetter neffe nichte chef chefin",
    "kollege kollegin arzt ärztin zahnarzt lehrer lehrerin hund katze vermieter schwager schwägerin mère maman père",
    "frère sœur soeur fils fille enfant mari femme époux épouse ami amie copain copine compagnon compagne voisin",
    "voisine grand-mère grand-père mamie papi oncle neveu nièce patron patronne collègue médecin docteur professeur",
    "chien chat beau-frère belle-sœur mamma papà babbo fratello sorella figlio figlia marito moglie fidanzato",
    "fidanzata amico amica nonna nonno zio zia cugino cugina nipote capo collega medico dottore cane gatto mãe pai",
    "irmão irmã filho filha namorado namorada vizinho avó avô tio tia chefe cachorro moeder vader broer zus zuster",
    "zoon dochter vrouw vriend vriendin buurman buurvrouw oom neef nicht baas mor far pappa bror syster dotter fru",
    "vän granne kollega matka ojciec tata brat siostra syn córka mąż żona przyjaciel przyjaciółka sąsiad babcia",
    "dziadek wujek ciocia szef szefowa kolega koleżanka мать мама отец папа брат сестра сын дочь муж жена друг",
    "подруга сосед соседка бабушка дедушка дядя тётя тетя начальник начальница шеф коллега врач учитель собака кошка",
    "мати тато батько син дочка чоловік дружина бабуся дідусь anne annem baba babam kardeş kardeşim abi abim abla",
    "ablam eş eşim oğlum kızım arkadaş arkadaşım komşum patronum müdürüm أخ أخي أخت أختي أم أمي أب أبي والدي والدتي",
    "زوج زوجي زوجة زوجتي صديق صديقي صديقة صديقتي ابني ابنتي مديري جاري भाई बहन माँ मां पिता पिताजी पति पत्नी दोस्त",
    "बेटा बेटी बॉस 妈妈 媽媽 母亲 母親 爸爸 父亲 父親 哥哥 弟弟 姐姐 妹妹 兄弟 姐妹 丈夫 老公 妻子 老婆 儿子 兒子",
    "女儿 女兒 朋友 男朋友 女朋友 邻居 鄰居 老板 老闆 同事 上司 奶奶 爷爷 爺爺 外婆 外公 叔叔 阿姨 医生 醫生 老师",
    "老師 母 お母さん 父 お父さん 兄 お兄さん 弟 姉 お姉さん 夫 妻 息子 娘 友達 友人 彼氏 隣人 同僚 祖母 祖父",
    "おばあさん おじいさん 医者 先生 社長 어머니 엄마 아버지 아빠 형 오빠 누나 언니 동생 남동생 여동생 남편 아내 아들",
    "딸 친구 남자친구 여자친구 이웃 상사 동료 할머니 할아버지 의사 선생님",
)
_PLACES = _words("company employer team office school university home house hometown city town car job family")
_OWNED_IN_CJK = re.compile(r"(?:我|你|他|她|我们|我們)的?|(?:私|僕|俺|彼|彼女|うち|あなた)の")


def is_user(name: str) -> bool:
    """Return true if a name refers to the user, such as "the user" or "I"."""
    return folded(name) in _USER


def is_pronoun(name: str) -> bool:
    """Return true if a name is a pronoun. Abbreviations in capital letters, such as "US", are not.

    Example:
        >>> from langchain_agentmem.knowledge.entities.references import is_pronoun
        >>> is_pronoun("She"), is_pronoun("ella"), is_pronoun("Ella"), is_pronoun("US")
        (True, True, False, False)
    """
    key = folded(name)
    if key in _PRONOUNS:
        return not (key in _ABBREVIATIONS and name.strip().isupper())
    return key in _PRONOUNS_IN_LOWER_CASE and name.strip().islower()


def is_role(name: str) -> bool:
    """Return true if a name is a role towards somebody, such as "my older brother", "the boss" or "Tom's wife".

    Example:
        >>> from langchain_agentmem.knowledge.entities.references import is_role
        >>> is_role("mi hermano"), is_role("Mom"), is_role("Mother Teresa"), is_role("My Chemical Romance")
        (True, True, False, False)
    """
    owned = _OWNED_IN_CJK.match(name.strip())
    if owned and owned.end() < len(name.strip()):
        return True
    words = re.sub(r"\b([ldLD])['’]", r"\1' ", name).replace("’", "'").split()
    if len(words) > 1 and folded(words[0]) in _POSSESSIVES and (words[0].islower() or words[1].islower()):
        return True
    while len(words) > 1 and (folded(words[0]) in _POSSESSIVES | _ARTICLES or words[0].casefold() in ("l'", "d'")):
        words = words[1:]
    for at, word in enumerate(words):  # Tom's wife, the wife of Tom
        if word.casefold().endswith(("'s", "s'")) and _is_role(words[at + 1 :]):
            return True
        if at and folded(word) in _OF and _is_role(words[:at]):
            return True
    return _is_role(words) or (len(words) == 1 and folded(words[0]) in _PLACES)


def _is_role(words: list[str]) -> bool:
    """Return true if one of some words is a role and no other word is a name."""
    others = [word for word in words if folded(word.strip(".,-()")) not in _ROLES]
    return len(others) < len(words) and all(word == word.lower() and not word.isdigit() for word in others)


def identifies(name: str) -> bool:
    """Return true if a name identifies an entity: it is neither a pronoun nor a role nor a word for the user."""
    return not (is_user(name) or is_pronoun(name) or is_role(name))
