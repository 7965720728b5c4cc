// What ComfyUI serves beside the pack's own modules.
declare module "*/scripts/app.js" {
  export const app: import("@comfyorg/comfyui-frontend-types").ComfyApp;
}
declare module "*/scripts/api.js" {
  export const api: import("@comfyorg/comfyui-frontend-types").ComfyApi & {
    addEventListener(type: string, listener: (event: CustomEvent) => void): void;
  };
}

type FrontEndNode = Parameters<NonNullable<import("@comfyorg/comfyui-frontend-types").ComfyExtension["nodeCreated"]>>[0];
type FrontEndWidget = NonNullable<FrontEndNode["widgets"]>[number];

/** A node of the graph, with what the front end's published types leave out. */
type HostNode = FrontEndNode & {
  constructor: { comfyClass?: string };
  addDOMWidget(
    name: string,
    type: string,
    element: HTMLElement,
    options?: { serialize?: boolean; hideOnZoom?: boolean; margin?: number; getMinHeight?: () => number; getMaxHeight?: () => number },
  ): FrontEndWidget;
  addWidget(
    type: "button",
    name: string,
    value: string,
    callback: () => void,
    options: { serialize: boolean; canvasOnly: boolean },
  ): FrontEndWidget;
  onDragOver?(event: DragEvent): boolean;
  onDragDrop?(event: DragEvent): boolean;
  previewMediaType?: string;
  pasteFiles?(files: File[]): boolean;
  onExecuted?(output: Record<string, unknown>): void;
};

interface Window {
  LiteGraph?: { vueNodesMode?: boolean; createNode(type: string): FrontEndNode | null };
}
